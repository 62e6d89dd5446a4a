student = dict(
    type='ImageClassifier',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        zero_init_residual=False,
        num_stages=4,
        out_indices=(3, ),
        style='pytorch'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=200,
        in_channels=512,
        loss=dict(type='CrossEntropyLoss')),
    data_preprocessor=dict(
        mean=[122.45, 114.27, 101.36], std=[70.64, 68.62, 71.94],
        to_rgb=False))
