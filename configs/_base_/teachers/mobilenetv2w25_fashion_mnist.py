_base_ = './mobilenetv2w25_digits.py'
teacher = dict(
    model=dict(
        data_preprocessor=dict(
            mean=[72.9, 72.9, 72.9], std=[90.0, 90.0, 90.0])),
    input_size=28,
    checkpoint='work_dirs/teachers/mobilenetv2w25_fashion_mnist/epoch_6.pth',
    recipe='tadfkd::teachers/mobilenetv2w25_fashion_mnist.py')
