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
            mean=[77.7, 77.7, 77.7], std=[81.2, 81.2, 81.2], to_rgb=False)),
    input_size=16,
    grey_to_rgb=True,
    checkpoint='work_dirs/teachers/mobilenetv2w25_digits/epoch_60.pth',
    recipe='tadfkd::teachers/mobilenetv2w25_digits.py')
