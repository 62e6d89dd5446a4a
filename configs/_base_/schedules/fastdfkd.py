# arXiv 2112.06253 with ten generator steps. The first 20 epochs fill the pool;
# after them, 400 student steps follow each synthesis. Adam takes the meta
# step, with the inner rate times the number of inner steps.
model = dict(
    type='FastDFKD',
    batch_size=256,
    meta='maml',
    num_generator_steps=10,
    inner_lr=2e-3,
    latent_lr=0.01,
    num_student_steps=400,
    warmup_iterations=20,
    # The 140th synthesis: 120 after the warm-up.
    reset_iteration=139,
    selector=dict(type='SelectAll'),
    pool=dict(capacity=56320),
    one_hot_loss=dict(type='OneHotLoss', loss_weight=0.4),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=10.0),
    bn_momentum=0.9,
    # For a ResNet-34 teacher this weight is 1.33 and that of one_hot_loss 0.5.
    adversarial_loss=dict(type='AgreedKLLoss', loss_weight=1.1),
    student_loss=dict(type='KLLoss', temperature=20.0))
train_cfg = dict(by_epoch=True, max_epochs=220, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=1),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=1e-4)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=2e-2, betas=(0.5, 0.999))))
param_scheduler = dict(
    student=[
        dict(
            type='CosineAnnealingLR',
            by_epoch=True,
            begin=20,
            end=220,
            T_max=200,
            eta_min=2e-4)
    ],
    generator=[])
