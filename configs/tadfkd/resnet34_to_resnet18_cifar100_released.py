# The form of the released code. The Jensen-Shannon term and its probabilities
# are clamped, it has swapped arguments and is averaged over classes too. The
# image norms are over the whole batch. The student stays in train mode.
_base_ = './resnet34_to_resnet18_cifar100.py'
model = dict(
    adversarial_loss=dict(
        reduction='mean', clamp=(0.01, 0.99), swapped=True, bounded=True),
    image_losses=dict(
        l2=dict(over='batch', loss_weight=6e-3),
        tv=dict(over='batch', loss_weight=1.5e-5)),
    student_mode_in_generator_step='train')
