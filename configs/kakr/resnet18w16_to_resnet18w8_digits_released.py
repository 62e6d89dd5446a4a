# The student's step of the released code: one mean over new and replayed
# images, without a trial step. All else is as in the config below, so that the
# two differ by the step alone.
_base_ = './resnet18w16_to_resnet18w8_digits.py'
model = dict(inner_lr=None)
