# Layer norm only; no layer scale, which is for deep networks.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='ConvNeXt',
            in_channels=1,
            arch=dict(depths=(2, 2, 2), channels=(16, 32, 64)),
            stem_patch_size=2,
            layer_scale_init_value=0.0,
            out_indices=(2, )),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=64,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(mean=[72.9], std=[90.0], to_rgb=False)),
    input_size=28,
    checkpoint='work_dirs/teachers/convnextw16_fashion_mnist/epoch_6.pth',
    recipe='tadfkd::teachers/convnextw16_fashion_mnist.py')
