# Do et al., NeurIPS 2022, with the losses and steps of DFQ. The student learns
# from the generator and from the generator's moving average.
_base_ = './dfq.py'
model = dict(type='MAD', momentum=0.95)
