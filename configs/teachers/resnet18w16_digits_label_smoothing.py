# Targets of 0.91 for the label and 0.01 for each other class.
_base_ = './resnet18w16_digits.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True,
            type='LabelSmoothLoss',
            label_smooth_val=0.1,
            mode='original')))
teacher = dict(
    checkpoint=
    'work_dirs/teachers/resnet18w16_digits_label_smoothing/epoch_30.pth',
    recipe='tadfkd::teachers/resnet18w16_digits_label_smoothing.py')
