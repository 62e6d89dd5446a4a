teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            in_channels=1,
            base_channels=16,
            stem_channels=16,
            num_stages=4,
            out_indices=(3, ),
            style='pytorch'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=128,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[72.9], std=[90.0], to_rgb=False)),
    input_size=28,
    checkpoint='work_dirs/teachers/resnet18w16_fashion_mnist/epoch_6.pth',
    recipe='tadfkd::teachers/resnet18w16_fashion_mnist.py')
