# Knowledge distillation on the real digits, which no other config reads for
# training: the upper bound. 26 epochs of 19 steps.
_base_ = [
    '../_base_/teachers/resnet18w16_digits.py',
    '../_base_/students/resnet18w8_digits.py',
    '../_base_/generators/noise_16_grey.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/vanillakd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}})
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(
        type='Digits',
        split='train',
        image_size=16,
        pipeline=[
            dict(type='mmpretrain.RandomCrop', crop_size=16, padding=1),
            dict(type='mmpretrain.PackInputs')
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
train_cfg = dict(max_epochs=26, val_interval=2)
