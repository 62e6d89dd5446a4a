# arXiv 1912.11006, with the numbers of the paper and its released code: five
# student steps, then one generator step; 50 iterations per epoch.
model = dict(
    type='DFAD',
    batch_size=256,
    num_student_steps=5,
    num_generator_steps=1,
    selector=dict(type='SelectAll'),
    adversarial_loss=dict(type='L1Loss'),
    student_loss=dict(type='L1Loss'))
train_cfg = dict(by_epoch=True, max_epochs=500, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=50),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.999))))
param_scheduler = dict(
    student=[
        dict(
            type='MultiStepLR',
            by_epoch=True,
            milestones=[100, 200],
            gamma=0.1)
    ],
    generator=[
        dict(
            type='MultiStepLR',
            by_epoch=True,
            milestones=[100, 200],
            gamma=0.1)
    ])
