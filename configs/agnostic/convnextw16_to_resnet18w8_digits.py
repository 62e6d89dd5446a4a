# One setting for every teacher, on the 16x16 handwritten digits.
_base_ = [
    '../_base_/teachers/convnextw16_digits.py',
    '../_base_/students/resnet18w8_digits.py',
    '../_base_/generators/agnostic_16_grey.py',
    '../_base_/datasets/digits.py',
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
    synthesis_augment=dict(type='RandomShiftScale', shift=0.125, scale=0.15),
    augment=dict(type='RandomShiftScale', shift=0.125, scale=0.15))
