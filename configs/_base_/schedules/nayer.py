# arXiv 2310.00258. Each iteration is one epoch: a new noisy layer, 40
# generator steps on 400 images, then 400 student steps on 512 images. Every
# ten epochs the generator is initialised again. The paper has 30 to 40
# generator steps and 220 to 320 epochs.
model = dict(
    type='NAYER',
    batch_size=512,
    synthesis_batch_size=400,
    num_generator_steps=40,
    num_student_steps=400,
    warmup_iterations=20,
    reset_interval=10,
    selector=dict(type='SelectAll'),
    pool=dict(capacity=88000),
    one_hot_loss=dict(type='OneHotLoss', loss_weight=0.5),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=10.0),
    bn_momentum=0.9,
    adversarial_loss=dict(type='AgreedKLLoss', loss_weight=1.33),
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
        optimizer=dict(type='Adam', lr=4e-3, betas=(0.5, 0.999))))
param_scheduler = dict(
    student=[
        dict(
            type='CosineAnnealingLR',
            by_epoch=True,
            begin=20,
            end=220,
            T_max=200)
    ],
    generator=[])
