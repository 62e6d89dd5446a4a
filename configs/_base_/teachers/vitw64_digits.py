# Layer norm only. 16 patches of 4 x 4 pixels.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer',
            in_channels=1,
            img_size=16,
            patch_size=4,
            arch=dict(
                embed_dims=64,
                num_layers=4,
                num_heads=4,
                feedforward_channels=256)),
        head=dict(
            type='VisionTransformerClsHead',
            num_classes=10,
            in_channels=64,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[77.7], std=[81.2], to_rgb=False)),
    input_size=16,
    checkpoint='work_dirs/teachers/vitw64_digits/epoch_100.pth',
    recipe='tadfkd::teachers/vitw64_digits.py')
