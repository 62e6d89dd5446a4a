# arXiv 1904.01186, with the numbers of the paper and its released code for
# CIFAR-10: 120 joint steps per epoch. The weights of the class prior for
# CIFAR-100 differ.
model = dict(
    type='DAFL',
    batch_size=1024,
    num_student_steps=1,
    num_generator_steps=1,
    selector=dict(type='SelectAll'),
    class_prior=dict(
        type='ClassPrior',
        one_hot=0.05,
        balance=5.0,
        activation=0.01,
        log_base='10'),
    student_loss=dict(type='KLLoss', temperature=1.0))
train_cfg = dict(by_epoch=True, max_epochs=2000, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=120),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=0.02, betas=(0.9, 0.999))))
param_scheduler = dict(
    student=[
        dict(
            type='MultiStepLR',
            by_epoch=True,
            milestones=[800, 1600],
            gamma=0.1)
    ],
    generator=[])
