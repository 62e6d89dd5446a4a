# No normalisation layer at all.
# The network has three input channels. A grey image enters all three.
teacher = dict(
    type='MMPretrainTeacher',
    model=dict(
        type='ImageClassifier',
        backbone=dict(
            type='VGG', depth=11, with_last_pool=False, out_indices=(4, )),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=512,
            loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            mean=[77.7, 77.7, 77.7], std=[81.2, 81.2, 81.2], to_rgb=False)),
    input_size=16,
    grey_to_rgb=True,
    checkpoint='work_dirs/teachers/vgg11_digits/epoch_30.pth',
    recipe='tadfkd::teachers/vgg11_digits.py')
