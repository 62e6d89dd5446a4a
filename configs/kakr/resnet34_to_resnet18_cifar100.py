# KAKR (arXiv 2302.14290) on CIFAR-100, with the numbers of its schedule.
_base_ = [
    '../_base_/teachers/resnet34_cifar100.py',
    '../_base_/students/resnet18_cifar100.py',
    '../_base_/generators/upsampling_32_spectral.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/kakr.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}})
