"""What does training iterate over, and where are the images for evaluation?"""
from tadfkd.datasets.cifar import CIFAR10, CIFAR100
from tadfkd.datasets.digits import Digits
from tadfkd.datasets.fashion_mnist import FashionMNIST
from tadfkd.datasets.pairs import LabelledImages
from tadfkd.datasets.steps import StepDataset, StepSampler
from tadfkd.datasets.tiny_imagenet import TinyImageNet

__all__ = [
    'CIFAR10', 'CIFAR100', 'Digits', 'FashionMNIST', 'LabelledImages',
    'StepDataset', 'StepSampler', 'TinyImageNet'
]
