# arXiv 1905.09768, with the numbers of the paper and its released code: one
# generator step and ten student steps on the same latents, 80 000 times.
# Gradients are clipped at norm 5. The division into epochs is our own choice.
model = dict(
    type='ZSKT',
    batch_size=128,
    num_student_steps=10,
    num_generator_steps=1,
    selector=dict(type='SelectAll'),
    # The mean over samples and classes, as in the released code.
    adversarial_loss=dict(type='KLLoss', temperature=1.0, reduction='mean'),
    attention_loss=dict(type='AttentionTransferLoss', loss_weight=250.0),
    student_loss=dict(type='KLLoss', temperature=1.0, reduction='mean'))
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=400),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=2e-3, betas=(0.9, 0.999)),
        clip_grad=dict(max_norm=5)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=1e-3, betas=(0.9, 0.999)),
        clip_grad=dict(max_norm=5)))
param_scheduler = dict(
    student=[dict(type='CosineAnnealingLR', by_epoch=True)],
    generator=[dict(type='CosineAnnealingLR', by_epoch=True)])
