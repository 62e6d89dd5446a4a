# CVPR 2023. Each iteration is one epoch: 200 generator steps on one batch,
# then 2000 student steps. The optimisers are those of CMI. The released code
# keeps the features of all 51200 images, 0.43 MB each at 32x32 pixels; 5120 of
# them take 2.2 GB, in memory and in each checkpoint.
model = dict(
    type='SpaceshipNet',
    batch_size=256,
    num_generator_steps=200,
    num_student_steps=2000,
    warmup_iterations=0,
    latent_lr=0.0,
    selector=dict(type='SelectAll'),
    # Only to look at: the student sees images of the banks.
    pool=dict(capacity=256),
    exchange_probability=0.7,
    bank_capacity=5120,
    one_hot_loss=dict(type='OneHotLoss', loss_weight=0.5),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=1.0),
    bn_momentum=0.0,
    activation_loss=dict(type='ClassActivationLoss', loss_weight=1.0),
    grad_cam_loss=dict(type='GradCAMLoss', loss_weight=1.0),
    student_loss=dict(type='KLLoss', temperature=30.0, reduction='mean'))
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=1),
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
