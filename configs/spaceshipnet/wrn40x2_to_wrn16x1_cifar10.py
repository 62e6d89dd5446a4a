# SpaceshipNet (CVPR 2023) on a pair of networks that data-free distillation
# is usually compared on.
_base_ = [
    '../_base_/teachers/wrn40x2_cifar10.py',
    '../_base_/students/wrn16x1_cifar10.py',
    '../_base_/generators/upsampling_32_z256.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/spaceshipnet.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    synthesis_augment=dict(
        type='RandomCropFlip', padding=4, flip_probability=0.5),
    augment=dict(type='RandomCropFlip', padding=4, flip_probability=0.5))
