# The ablation of the paper: TA-DFKD without selection.
_base_ = './resnet34_to_resnet18_cifar100.py'
model = dict(selector=dict(type='SelectAll'), detach_teacher=True)
