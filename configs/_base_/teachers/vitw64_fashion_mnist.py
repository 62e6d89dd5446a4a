# 49 patches of 4 x 4 pixels.
_base_ = './vitw64_digits.py'
teacher = dict(
    model=dict(
        backbone=dict(img_size=28),
        data_preprocessor=dict(mean=[72.9], std=[90.0])),
    input_size=28,
    checkpoint='work_dirs/teachers/vitw64_fashion_mnist/epoch_10.pth',
    recipe='tadfkd::teachers/vitw64_fashion_mnist.py')
