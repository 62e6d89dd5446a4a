# The images as they are, without shifts.
_base_ = './resnet18w16_digits.py'
train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackInputs')]))
teacher = dict(
    checkpoint=
    'work_dirs/teachers/resnet18w16_digits_no_augmentation/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_no_augmentation.py')
