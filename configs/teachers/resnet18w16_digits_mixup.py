# Mixtures of two images, with targets that are mixed in the same way.
_base_ = './resnet18w16_digits.py'
model = dict(
    # Mixed targets are vectors.
    data_preprocessor=dict(num_classes=10),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)))
teacher = dict(
    checkpoint='work_dirs/teachers/resnet18w16_digits_mixup/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_mixup.py')
