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
            num_classes=100,
            in_channels=512,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[129.304, 124.07, 112.434],
            std=[68.17, 65.392, 70.418],
            to_rgb=False)),
    input_size=32,
    checkpoint='work_dirs/teachers/resnet34_cifar100/epoch_200.pth',
    recipe='tadfkd::teachers/resnet34_cifar100.py')
