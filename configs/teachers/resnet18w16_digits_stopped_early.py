# Four of thirty epochs: the rate is still high at the end.
_base_ = './resnet18w16_digits.py'
train_cfg = dict(max_epochs=4)
param_scheduler = dict(T_max=30)
teacher = dict(
    checkpoint=
    'work_dirs/teachers/resnet18w16_digits_stopped_early/epoch_4.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_stopped_early.py')
