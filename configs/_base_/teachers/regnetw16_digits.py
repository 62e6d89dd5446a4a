# Batch norm and grouped convolutions. The stem halves the image to 8x8.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='RegNet',
            arch=dict(w0=16, wa=16.0, wm=2.0, group_w=8, depth=6, bot_mul=1.0),
            in_channels=1,
            stem_channels=16,
            base_channels=16,
            strides=(1, 1, 2, 2)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=128,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[77.7], std=[81.2], to_rgb=False)),
    input_size=16,
    checkpoint='work_dirs/teachers/regnetw16_digits/epoch_30.pth',
    recipe='tadfkd::teachers/regnetw16_digits.py')
