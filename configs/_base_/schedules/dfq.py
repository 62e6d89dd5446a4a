# arXiv 2005.04136 as a distillation method: ten student steps, then one
# generator step; 400 student steps per epoch.
model = dict(
    type='DFQ',
    batch_size=256,
    num_student_steps=10,
    num_generator_steps=1,
    selector=dict(type='SelectAll'),
    adversarial_loss=dict(type='KLLoss', temperature=1.0),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=1.0),
    class_prior=dict(
        type='ClassPrior',
        one_hot=1.0,
        balance=20.0,
        activation=0.0,
        log_base='e'),
    student_loss=dict(type='KLLoss', temperature=1.0))
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=40),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=1e-3, betas=(0.5, 0.999))))
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)], generator=[])
