_base_ = [
    '../_base_/teachers/regnetw16_digits.py',
    '../_base_/datasets/digits_supervised.py',
    '../_base_/schedules/supervised_cosine.py',
    '../_base_/supervised_runtime.py',
]
model = {{_base_.teacher.model}}
train_cfg = dict(max_epochs=30)
