# Growth rate 8; the paper's networks have 24 to 48.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='DenseNet',
            in_channels=1,
            arch=dict(growth_rate=8, depths=(4, 4, 4), init_channels=16)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=60,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[77.7], std=[81.2], to_rgb=False)),
    input_size=16,
    checkpoint='work_dirs/teachers/densenetw8_digits/epoch_40.pth',
    recipe='tadfkd::teachers/densenetw8_digits.py')
