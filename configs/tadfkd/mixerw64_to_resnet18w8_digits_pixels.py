# For a teacher without batch norm, where nothing holds the images apart: their
# norm, which pulls them all to one grey, gives way to the mean and variance of
# their pixels. The weights are ours.
_base_ = './mixerw64_to_resnet18w8_digits.py'
model = dict(
    image_losses=dict(
        l2=dict(loss_weight=0.0),
        tv=dict(loss_weight=0.0),
        pixels=dict(type='PixelStatisticsLoss', loss_weight=1.0)))
