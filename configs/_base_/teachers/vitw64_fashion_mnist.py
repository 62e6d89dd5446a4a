# Layer norm only. 49 patches of 4 x 4 pixels.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer',
            in_channels=1,
            img_size=28,
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
        data_preprocessor=dict(mean=[72.9], std=[90.0], to_rgb=False)),
    input_size=28,
    checkpoint='work_dirs/teachers/vitw64_fashion_mnist/epoch_10.pth',
    recipe='tadfkd::teachers/vitw64_fashion_mnist.py')
