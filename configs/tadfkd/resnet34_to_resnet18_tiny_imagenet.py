# TA-DFKD on Tiny-ImageNet with the numbers of the paper (arXiv 2402.12406),
# which has no augmentation on this data set.
_base_ = [
    '../_base_/teachers/resnet34_tiny_imagenet.py',
    '../_base_/students/resnet18_tiny_imagenet.py',
    '../_base_/generators/upsampling_64.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/tadfkd.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}})
train_cfg = dict(max_epochs=500)
