# Batch norm that averages over about 100 batches, not 10.
_base_ = './resnet18w16_digits.py'
model = dict(backbone=dict(norm_cfg=dict(type='BN', momentum=0.01)))
teacher = dict(
    checkpoint='work_dirs/teachers/resnet18w16_digits_slow_norm/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_slow_norm.py')
