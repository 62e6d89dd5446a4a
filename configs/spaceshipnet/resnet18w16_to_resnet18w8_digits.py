# SpaceshipNet on the 16x16 handwritten digits, in minutes on two cores. The
# losses are the paper's; generator, batch size, steps and learning rates are
# ours.
_base_ = [
    '../_base_/teachers/resnet18w16_digits.py',
    '../_base_/students/resnet18w8_digits.py',
    '../_base_/generators/upsampling_16_grey_z128.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/spaceshipnet.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    batch_size=64,
    num_generator_steps=40,
    num_student_steps=50,
    pool=dict(capacity=64),
    bank_capacity=960)
train_cfg = dict(max_epochs=10)
train_dataloader = dict(dataset=dict(num_steps=1))
