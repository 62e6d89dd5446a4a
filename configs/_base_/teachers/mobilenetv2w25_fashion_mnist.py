# The network has three input channels. A grey image enters all three.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(type='MobileNetV2', widen_factor=0.25),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=1280,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[72.9, 72.9, 72.9], std=[90.0, 90.0, 90.0], to_rgb=False)),
    input_size=28,
    grey_to_rgb=True,
    checkpoint='work_dirs/teachers/mobilenetv2w25_fashion_mnist/epoch_6.pth',
    recipe='tadfkd::teachers/mobilenetv2w25_fashion_mnist.py')
