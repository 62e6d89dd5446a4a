# MAD (Do et al., NeurIPS 2022) on CIFAR-100, with the losses and steps of
# DFQ and a generator that is told the class.
_base_ = [
    '../_base_/teachers/resnet34_cifar100.py',
    '../_base_/students/resnet18_cifar100.py',
    '../_base_/generators/conditional_32_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/mad.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}})
