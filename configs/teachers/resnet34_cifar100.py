_base_ = [
    '../_base_/teachers/resnet34_cifar100.py',
    '../_base_/datasets/cifar100_supervised.py',
    '../_base_/schedules/supervised_cosine.py',
    '../_base_/supervised_runtime.py',
]
model = {{_base_.teacher.model}}
