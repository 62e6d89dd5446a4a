# The setting of the digits on Fashion-MNIST, with 2500 student steps and with
# flips among the views. --teacher takes the other kinds of network.
_base_ = [
    '../_base_/teachers/resnet18w16_fashion_mnist.py',
    '../_base_/students/resnet18w8_fashion_mnist.py',
    '../_base_/generators/agnostic_28_grey.py',
    '../_base_/datasets/fashion_mnist.py',
    '../_base_/schedules/agnostic.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    batch_size=128,
    synthesis_batch_size=130,
    synthesis_augment=dict(
        type='RandomShiftScale', shift=0.125, scale=0.15,
        flip_probability=0.5),
    augment=dict(
        type='RandomShiftScale', shift=0.125, scale=0.15,
        flip_probability=0.5))
train_dataloader = dict(dataset=dict(num_steps=10))
