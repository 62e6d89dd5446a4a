# DFAD with the lenient expert of TA-DFKD.
_base_ = './resnet34_to_resnet18_cifar10.py'
model = dict(selector=dict(type='GMMSelector'))
