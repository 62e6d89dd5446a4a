# arXiv 2402.12406, with the numbers of the paper and its released code: ten
# student steps, then one generator step; 36 iterations per epoch.
model = dict(
    type='TADFKD',
    batch_size=1024,
    num_student_steps=10,
    num_generator_steps=1,
    selector=dict(type='GMMSelector'),
    select_on='plain',
    student_loss=dict(type='L1Loss'),
    adversarial_loss=dict(type='JSLoss', temperature=3.0),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=10.0),
    bn_on='augmented',
    # The paper has 6e-3 and 1.5e-5 on norms over a batch of 1024 images. On
    # the mean of the samples' norms, sqrt(1024) times as much acts similarly,
    # and does not depend on the batch size.
    image_losses=dict(
        l2=dict(type='ImageL2Loss', loss_weight=0.192),
        tv=dict(type='TotalVariationLoss', loss_weight=4.8e-4)),
    image_terms_on='normalized')
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=36),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.999))))
# The rate falls to 0 by a cosine over train_cfg.max_epochs.
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)], generator=[])
