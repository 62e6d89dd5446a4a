"""Which backbones does mmpretrain lack?

Use them in its model dicts by ``type='tadfkd.<name>'``.
"""
from tadfkd.backbones.vgg import CIFARVGG
from tadfkd.backbones.wide_resnet import WideResNet

__all__ = ['CIFARVGG', 'WideResNet']
