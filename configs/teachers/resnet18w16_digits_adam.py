# Adam in place of SGD.
_base_ = './resnet18w16_digits.py'
optim_wrapper = dict(optimizer=dict(_delete_=True, type='Adam', lr=1e-3))
teacher = dict(
    checkpoint='work_dirs/teachers/resnet18w16_digits_adam/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_adam.py')
