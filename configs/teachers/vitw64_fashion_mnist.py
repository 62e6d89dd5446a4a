_base_ = [
    '../_base_/teachers/vitw64_fashion_mnist.py',
    '../_base_/datasets/fashion_mnist_supervised.py',
    '../_base_/schedules/supervised_adamw.py',
    '../_base_/supervised_runtime.py',
]
model = {{_base_.teacher.model}}
train_cfg = dict(max_epochs=10)
