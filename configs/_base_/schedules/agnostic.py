# This project's own recipe. An iteration is one round: a synthesis of 15
# steps, then 25 student steps. Five syntheses come before the first student
# step. The student's batch norm keeps its statistics in the last 10 % of the
# run.
model = dict(
    type='AgnosticDFKD',
    num_generator_steps=15,
    num_student_steps=25,
    reset_interval=10,
    num_first_syntheses=5,
    num_further_images=500,
    ramp=(0.25, 0.75),
    pool=dict(capacity=16384),
    procedural=dict(
        families=[
            dict(type='SpectralFields'),
            dict(type='Blobs'),
            dict(type='Strokes')
        ],
        size=8192,
        num_candidates=131072,
        share=0.75,
        alone=0.0),
    loss_shares=dict(
        one_hot=1.0, bn=1.0, pixels=1.0, smooth=0.1, adversarial=0.5),
    one_hot_loss=dict(type='OneHotLoss'),
    bn_loss=dict(type='StatisticsDivergenceLoss'),
    image_losses=dict(
        pixels=dict(type='PixelDivergenceLoss', margin=0.1),
        smooth=dict(type='SmoothnessLoss')),
    adversarial_loss=dict(type='AgreedKLLoss'),
    selector=dict(
        type='ClassQuotaSelector',
        selector=dict(type='GMMSelector'),
        min_share=0.3),
    student_loss=dict(
        type='LogitsLossSum',
        losses=[dict(type='L1Loss'),
                dict(type='KLLoss', temperature=4.0)]),
    scale_targets=True,
    average_share=0.07,
    frozen_norm_share=0.1)
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=1)
train_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(type='StepDataset', num_steps=3),
    sampler=dict(type='StepSampler'))
optim_wrapper = dict(
    constructor='PerNetworkConstructor',
    student=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=5e-4),
        clip_grad=dict(max_norm=5.0)),
    generator=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=4e-3, betas=(0.5, 0.999))))
# The rate rises in the first epoch, and falls to 0 by a cosine over
# train_cfg.max_epochs.
param_scheduler = dict(
    student=[
        dict(
            type='LinearLR',
            start_factor=0.1,
            end=1,
            by_epoch=True,
            convert_to_iter_based=True),
        dict(
            type='CosineAnnealingLR',
            by_epoch=True,
            convert_to_iter_based=True)
    ],
    generator=[])
