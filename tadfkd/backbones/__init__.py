"""Backbones that mmpretrain lacks: ``type='tadfkd.<name>'`` in its dicts."""
from tadfkd.backbones.vgg import CIFARVGG
from tadfkd.backbones.wide_resnet import WideResNet

__all__ = ['CIFARVGG', 'WideResNet']
