# NAYER (arXiv 2310.00258) on Tiny-ImageNet, with schedule and weights as on
# CIFAR and without augmentation.
_base_ = [
    '../_base_/teachers/resnet34_tiny_imagenet.py',
    '../_base_/students/resnet18_tiny_imagenet.py',
    '../_base_/generators/label_embedding_64_tiny_imagenet.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/nayer.py',
    '../_base_/default_runtime.py',
]
model = dict(
    teacher={{_base_.teacher}},
    student={{_base_.student}},
    generator={{_base_.generator}},
    data_preprocessor={{_base_.data_preprocessor}},
    pool=dict(memory_mapped=True))
