# Do et al., NeurIPS 2022, with the losses and steps of DFQ: the student learns
# from the generator and from its slow copy.
_base_ = './dfq.py'
model = dict(type='MAD', momentum=0.95)
