# The upper bound: knowledge distillation on real data for 200 epochs.
model = dict(
    type='VanillaKD',
    batch_size=128,
    student_loss=dict(type='KLLoss', temperature=4.0))
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)))
param_scheduler = dict(student=[dict(type='CosineAnnealingLR', by_epoch=True)])
