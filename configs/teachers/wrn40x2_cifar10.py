_base_ = [
    '../_base_/teachers/wrn40x2_cifar10.py',
    '../_base_/datasets/cifar10_supervised.py',
    '../_base_/schedules/supervised_cosine.py',
    '../_base_/supervised_runtime.py',
]
model = {{_base_.teacher.model}}
