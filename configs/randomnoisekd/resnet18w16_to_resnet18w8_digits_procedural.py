# Procedural images in place of noise, and no generator that learns.
_base_ = [
    '../_base_/teachers/resnet18w16_digits.py',
    '../_base_/students/resnet18w8_digits.py',
    '../_base_/generators/procedural_16_grey.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/randomnoisekd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    batch_size=64,
    num_student_steps=5)
train_cfg = dict(max_epochs=10)
train_dataloader = dict(dataset=dict(num_steps=10))
