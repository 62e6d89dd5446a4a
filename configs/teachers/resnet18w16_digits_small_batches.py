# Batches of 8 images.
_base_ = './resnet18w16_digits.py'
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=0.01))
teacher = dict(
    checkpoint=
    'work_dirs/teachers/resnet18w16_digits_small_batches/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_small_batches.py')
