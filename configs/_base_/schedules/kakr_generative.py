# arXiv 2302.14290 with generative replay, whose numbers are those of arXiv
# 2201.03019; 72 iterations per epoch.
_base_ = './predfkd.py'
model = dict(type='KAKR', batch_size=512, replay_batch_size=64, inner_lr=0.9)
train_dataloader = dict(dataset=dict(num_steps=72))
