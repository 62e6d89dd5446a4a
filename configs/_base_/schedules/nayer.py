# arXiv 2310.00258. Each iteration is one epoch: ten syntheses in the warm-up
# and two later, then 400 student steps on 512 images. A synthesis is a new
# noisy layer and 40 generator steps on 400 images (30 steps on CIFAR-10).
# Every ten epochs the generator is initialised again. The paper has 220 to 320
# epochs. The pool holds every image of the run.
model = dict(
    type='NAYER',
    batch_size=512,
    synthesis_batch_size=400,
    num_generator_steps=40,
    num_student_steps=400,
    warmup_iterations=20,
    reset_interval=10,
    num_syntheses=2,
    num_warmup_syntheses=10,
    selector=dict(type='SelectAll'),
    pool=dict(capacity=240000, dtype='uint8'),
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
