# arXiv 1912.08795. Each iteration is one epoch: 1000 to 2000 steps on the
# pixels of one batch, then 400 student steps on the pool.
model = dict(
    type='DeepInversion',
    batch_size=256,
    num_generator_steps=1000,
    num_student_steps=400,
    warmup_iterations=0,
    selector=dict(type='SelectAll'),
    # All images of 200 syntheses.
    pool=dict(capacity=51200),
    one_hot_loss=dict(type='OneHotLoss', loss_weight=1.0),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=10.0),
    bn_momentum=0.0,
    # The released code has 2.5e-5 and 1e-3 on norms over 256 images. On the
    # means of the samples' norms, sqrt(256) times as much acts similarly.
    image_losses=dict(
        tv=dict(type='TotalVariationLoss', loss_weight=4e-4),
        l2=dict(type='ImageL2Loss', loss_weight=0.016)),
    synthesis_augment=dict(type='RandomShift', max_pixels=2),
    student_loss=dict(type='KLLoss', temperature=20.0))
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
        optimizer=dict(type='Adam', lr=0.1, betas=(0.9, 0.999))))
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)], generator=[])
