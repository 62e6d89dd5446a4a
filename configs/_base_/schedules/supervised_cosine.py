train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
optim_wrapper = dict(
    optimizer=dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True))
# The rate falls to 0 by a cosine over train_cfg.max_epochs.
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True)
