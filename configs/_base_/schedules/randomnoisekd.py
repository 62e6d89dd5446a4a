# The lower bound, with the student steps of TA-DFKD.
model = dict(
    type='RandomNoiseKD',
    batch_size=1024,
    num_student_steps=10,
    selector=dict(type='SelectAll'),
    student_loss=dict(type='KLLoss', temperature=4.0))
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
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)))
param_scheduler = dict(student=[dict(type='CosineAnnealingLR', by_epoch=True)])
