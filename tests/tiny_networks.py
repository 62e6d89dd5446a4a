"""Networks small enough for tests."""


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
