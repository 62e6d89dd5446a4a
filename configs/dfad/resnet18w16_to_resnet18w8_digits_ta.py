# DFAD with the lenient expert of TA-DFKD.
_base_ = './resnet18w16_to_resnet18w8_digits.py'
model = dict(selector=dict(type='GMMSelector'))
