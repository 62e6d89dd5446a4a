# arXiv 1912.08795, the adaptive form. The weight of the divergence is our own
# choice.
_base_ = './deepinversion.py'
model = dict(
    type='ADI',
    adversarial_loss=dict(type='JSLoss', temperature=3.0, loss_weight=1.0))
