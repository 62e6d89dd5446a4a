# The ablation of the paper: TA-DFKD without selection and with the class prior
# of DAFL, with its weights for CIFAR-10.
_base_ = './resnet34_to_resnet18_cifar10.py'
model = dict(
    selector=dict(type='SelectAll'),
    detach_teacher=True,
    class_prior=dict(
        type='ClassPrior',
        one_hot=0.05,
        balance=5.0,
        activation=0.01,
        log_base='10'))
