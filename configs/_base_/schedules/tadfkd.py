# The schedule of arXiv 2402.12406 (figures of the released code): an
# iteration is 10 student steps, then 1 generator step; 36 iterations an epoch.
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
# Cosine to 0 over train_cfg.max_epochs.
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)], generator=[])
