# arXiv 2302.14290 with a buffer of ten batches of 64 images. Every fifth epoch
# one batch enters the buffer. An iteration is ten student steps, then one
# generator step; 72 iterations per epoch.
model = dict(
    type='KAKR',
    batch_size=512,
    num_student_steps=10,
    num_generator_steps=1,
    selector=dict(type='SelectAll'),
    replay_batch_size=64,
    inner_lr=0.9,
    # An epoch has 720 student steps, so five epochs have 3600.
    replay=dict(
        type='BufferReplay', num_batches=10, batch_size=64, interval=3600),
    class_prior=dict(
        type='ClassPrior',
        one_hot=1.0,
        balance=5.0,
        activation=0.1,
        log_base='10'),
    adversarial_loss=dict(type='JSLoss', temperature=3.0),
    student_loss=dict(type='L1Loss'))
train_cfg = dict(by_epoch=True, max_epochs=400, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=72),
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
    student=[dict(type='CosineAnnealingLR', by_epoch=True)], generator=[])
