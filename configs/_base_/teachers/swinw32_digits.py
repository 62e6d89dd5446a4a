# Layer norm, attention in windows of 4x4 patches, patches of 2x2 pixels.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='SwinTransformer',
            arch=dict(embed_dims=32, depths=[2, 2], num_heads=[2, 4]),
            img_size=16,
            in_channels=1,
            patch_size=2,
            window_size=4,
            drop_path_rate=0.0,
            out_indices=(1, )),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=64,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[77.7], std=[81.2], to_rgb=False)),
    input_size=16,
    checkpoint='work_dirs/teachers/swinw32_digits/epoch_60.pth',
    recipe='tadfkd::teachers/swinw32_digits.py')
