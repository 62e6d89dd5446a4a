# SpaceshipNet (CVPR 2023) on Tiny-ImageNet, with schedule and weights as on
# CIFAR and without augmentation.
_base_ = [
    '../_base_/teachers/resnet34_tiny_imagenet.py',
    '../_base_/students/resnet18_tiny_imagenet.py',
    '../_base_/generators/upsampling_64_z256.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/spaceshipnet.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    # At 64x64 pixels an image takes 1.7 MB.
    bank_capacity=1280)
