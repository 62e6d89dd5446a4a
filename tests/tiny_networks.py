"""Networks small enough for tests."""
from pathlib import Path
from typing import Any

from torch import nn


def classifier(num_classes: int = 5, in_channels: int = 1) -> dict:
    """A ResNet-18 of base width 4."""
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            in_channels=in_channels,
            base_channels=4,
            stem_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead', num_classes=num_classes, in_channels=32),
        data_preprocessor=dict(
            mean=[127.5] * in_channels, std=[63.75] * in_channels))


def convolutional(num_classes: int = 5, in_channels: int = 3) -> nn.Sequential:
    """Two convolutions with batch norm and a linear layer, of PyTorch."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


def save_hugging_face(folder: Path, **config: Any) -> nn.Module:
    """A small ResNet, written as ``save_pretrained`` does, and returned."""
    import transformers
    network = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(**dict(
            num_labels=5,
            embedding_size=8,
            hidden_sizes=[8, 12],
            depths=[1, 1]) | config))
    network.save_pretrained(folder)
    return network.eval()
