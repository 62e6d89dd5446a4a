# The form of the released code: the student is in train mode also in generator
# steps.
_base_ = './resnet34_to_resnet18_cifar100.py'
model = dict(student_mode_in_generator_step='train')
