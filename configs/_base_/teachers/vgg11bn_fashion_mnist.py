_base_ = './vgg11bn_digits.py'
teacher = dict(
    model=dict(
        data_preprocessor=dict(
            mean=[72.9, 72.9, 72.9], std=[90.0, 90.0, 90.0])),
    input_size=28,
    checkpoint='work_dirs/teachers/vgg11bn_fashion_mnist/epoch_3.pth',
    recipe='tadfkd::teachers/vgg11bn_fashion_mnist.py')
