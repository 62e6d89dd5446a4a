# The form of the released code. The student has no trial step, and is in train
# mode in generator steps. The Jensen-Shannon term is clamped, has swapped
# arguments and is averaged over classes too.
_base_ = './resnet34_to_resnet18_cifar100_generative.py'
model = dict(
    inner_lr=None,
    student_mode_in_generator_step='train',
    adversarial_loss=dict(
        reduction='mean', clamp=(0.01, 0.99), swapped=True, bounded=True))
