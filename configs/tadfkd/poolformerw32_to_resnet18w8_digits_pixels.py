# For a teacher without batch norm. The image norms would pull all images to
# one grey, and no batch-norm term would keep the images apart. So the mean and
# variance of the pixels replace the norms. The weights are our own choice.
_base_ = './poolformerw32_to_resnet18w8_digits.py'
model = dict(
    image_losses=dict(
        l2=dict(loss_weight=0.0),
        tv=dict(loss_weight=0.0),
        pixels=dict(type='PixelStatisticsLoss', loss_weight=1.0)))
