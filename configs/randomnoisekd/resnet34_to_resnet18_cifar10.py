# Noise in place of CIFAR-10: the lower bound.
_base_ = [
    '../_base_/teachers/resnet34_cifar10.py',
    '../_base_/students/resnet18_cifar10.py',
    '../_base_/generators/noise_32.py',
    '../_base_/datasets/cifar10.py',
    '../_base_/schedules/randomnoisekd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}})
