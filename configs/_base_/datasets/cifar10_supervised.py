# Real images, for training and testing a teacher.
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        type='tadfkd.CIFAR10',
        split='train',
        data_root='data/cifar10',
        pipeline=[
            dict(type='RandomCrop', crop_size=32, padding=4),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs')
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    dataset=dict(
        type='tadfkd.CIFAR10',
        split='test',
        data_root='data/cifar10',
        pipeline=[dict(type='PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='Accuracy', topk=(1, ))
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()
