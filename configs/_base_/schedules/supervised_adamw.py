# For networks that SGD trains slowly or not at all. The numbers are our own
# choice.
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0))
# The rate falls to 0 by a cosine over train_cfg.max_epochs.
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True)
