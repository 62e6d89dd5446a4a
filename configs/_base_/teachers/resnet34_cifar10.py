teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=34,
            num_stages=4,
            out_indices=(3, ),
            style='pytorch'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=512,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[125.307, 122.961, 113.857],
            std=[51.5865, 50.847, 51.255],
            to_rgb=False)),
    input_size=32,
    checkpoint='work_dirs/teachers/resnet34_cifar10/epoch_200.pth',
    recipe='tadfkd::teachers/resnet34_cifar10.py')
