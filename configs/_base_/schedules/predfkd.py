# arXiv 2201.03019: ten student steps, then one generator step; 36 iterations
# per epoch. The replay is trained in the first four student steps. Its latents
# have the generator's learning rate.
model = dict(
    type='PREDFKD',
    batch_size=1024,
    num_student_steps=10,
    num_generator_steps=1,
    selector=dict(type='SelectAll'),
    replay_batch_size=128,
    num_replay_steps=4,
    replay=dict(latent_lr=0.02),
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
    dataset=dict(type='StepDataset', num_steps=36),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=0.02, betas=(0.9, 0.999))),
    replay=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=5e-4, betas=(0.9, 0.999))))
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)],
    generator=[],
    replay=[])
