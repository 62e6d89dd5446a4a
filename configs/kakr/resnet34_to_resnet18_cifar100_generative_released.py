# The form of the released code. The student has no trial step. The
# Jensen-Shannon term is clamped, has swapped arguments and is averaged over
# classes too.
_base_ = './resnet34_to_resnet18_cifar100_generative.py'
model = dict(
    inner_lr=None,
    adversarial_loss=dict(
        reduction='mean', clamp=(0.01, 0.99), swapped=True, bounded=True))
