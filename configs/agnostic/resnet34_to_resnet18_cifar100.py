# This project's own recipe on CIFAR-100. It has not been trained to the end.
_base_ = [
    '../_base_/teachers/resnet34_cifar100.py',
    '../_base_/students/resnet18_cifar100.py',
    '../_base_/generators/agnostic_32_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/agnostic.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    batch_size=256,
    synthesis_batch_size=400,
    pool=dict(capacity=40960, dtype='uint8'),
    synthesis_augment=dict(
        type='RandomShiftScale', shift=0.125, scale=0.15,
        flip_probability=0.5),
    augment=dict(
        type='RandomShiftScale', shift=0.125, scale=0.15,
        flip_probability=0.5))
train_cfg = dict(max_epochs=100)
train_dataloader = dict(dataset=dict(num_steps=20))
