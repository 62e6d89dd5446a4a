# Ten times the weight decay.
_base_ = './resnet18w16_digits.py'
optim_wrapper = dict(optimizer=dict(weight_decay=5e-3))
teacher = dict(
    checkpoint=
    'work_dirs/teachers/resnet18w16_digits_weight_decay/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_weight_decay.py')
