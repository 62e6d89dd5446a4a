# The ablation of the paper: TA-DFKD without selection.
_base_ = './resnet18w16_to_resnet18w8_digits.py'
model = dict(selector=dict(type='SelectAll'), detach_teacher=True)
