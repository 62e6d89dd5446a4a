# Batch norm after every convolution.
# The network has three input channels. A grey image enters all three.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='VGG',
            depth=11,
            norm_cfg=dict(type='BN'),
            with_last_pool=False,
            out_indices=(4, )),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=512,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[72.9, 72.9, 72.9], std=[90.0, 90.0, 90.0], to_rgb=False)),
    input_size=28,
    grey_to_rgb=True,
    checkpoint='work_dirs/teachers/vgg11bn_fashion_mnist/epoch_3.pth',
    recipe='tadfkd::teachers/vgg11bn_fashion_mnist.py')
