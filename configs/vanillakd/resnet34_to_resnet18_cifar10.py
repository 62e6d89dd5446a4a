# Knowledge distillation on the real images of CIFAR-10, which no other
# config reads for training: the upper bound.
_base_ = [
    '../_base_/teachers/resnet34_cifar10.py',
    '../_base_/students/resnet18_cifar10.py',
    '../_base_/generators/noise_32.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/vanillakd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}})
train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    dataset=dict(
        type='CIFAR10',
        split='train',
        data_root='data/cifar10',
        pipeline=[
            dict(type='mmpretrain.RandomCrop', crop_size=32, padding=4),
            dict(
                type='mmpretrain.RandomFlip', prob=0.5,
                direction='horizontal'),
            dict(type='mmpretrain.PackInputs')
        ]),
    sampler=dict(type='DefaultSampler', shuffle=True))
