# All norms are group norms of one group.
# The network has three input channels. A grey image enters all three.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='PoolFormer',
            arch=dict(
                layers=(2, 2, 2),
                embed_dims=(32, 64, 128),
                mlp_ratios=(4, 4, 4),
                layer_scale_init_value=1.0),
            in_patch_size=3,
            in_stride=2,
            in_pad=1,
            out_indices=(4, )),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=128,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[77.7, 77.7, 77.7], std=[81.2, 81.2, 81.2], to_rgb=False)),
    input_size=16,
    grey_to_rgb=True,
    checkpoint='work_dirs/teachers/poolformerw32_digits/epoch_40.pth',
    recipe='tadfkd::teachers/poolformerw32_digits.py')
