# arXiv 2105.08584. Each iteration is one epoch: 200 generator steps on one
# batch, then 400 student steps on the pool. The paper's weights of the
# cross-entropy lie between 0.5 and 1.
model = dict(
    type='CMI',
    batch_size=256,
    num_generator_steps=200,
    num_student_steps=400,
    warmup_iterations=0,
    latent_lr=1e-3,
    selector=dict(type='SelectAll'),
    pool=dict(capacity=51200),
    one_hot_loss=dict(type='OneHotLoss', loss_weight=1.0),
    bn_loss=dict(type='BNStatisticsLoss', loss_weight=1.0),
    bn_momentum=0.0,
    adversarial_loss=dict(type='AgreedKLLoss', loss_weight=0.5),
    contrastive_loss=dict(
        type='InfoNCELoss', temperature=0.1, loss_weight=0.8),
    features='stages',
    embedding_size=256,
    bank_capacity=40960,
    num_negatives=4096,
    local_augment=dict(
        type='RandomResizedCropFlip', scale=(0.25, 1.0), flip_probability=0.5),
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
        optimizer=dict(type='Adam', lr=1e-3, betas=(0.5, 0.999))),
    projection=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.999))))
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)],
    generator=[],
    projection=[])
