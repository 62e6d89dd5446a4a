teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(type='tadfkd.WideResNet', depth=40, widen_factor=2),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=128,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[125.307, 122.961, 113.857],
            std=[51.5865, 50.847, 51.255],
            to_rgb=False)),
    input_size=32,
    checkpoint='work_dirs/teachers/wrn40x2_cifar10/epoch_200.pth',
    recipe='tadfkd::teachers/wrn40x2_cifar10.py')
