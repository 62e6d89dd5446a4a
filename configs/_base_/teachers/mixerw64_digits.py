# Layer norm only. 16 patches of 4 x 4 pixels.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='MlpMixer',
            arch=dict(
                embed_dims=64,
                num_layers=4,
                tokens_mlp_dims=32,
                channels_mlp_dims=256),
            img_size=16,
            patch_size=4,
            patch_cfg=dict(in_channels=1)),
        neck=dict(type='GlobalAveragePooling', dim=1),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=64,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[77.7], std=[81.2], to_rgb=False)),
    input_size=16,
    checkpoint='work_dirs/teachers/mixerw64_digits/epoch_60.pth',
    recipe='tadfkd::teachers/mixerw64_digits.py')
