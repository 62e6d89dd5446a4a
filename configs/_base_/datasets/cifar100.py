# Real images, for evaluation only; --no-eval leaves them out.
dataset_name = 'cifar100'
# Images between components are in [0, 1], RGB or grey.
data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor',
    mean=[0.0] * 3,
    std=[255.0] * 3,
    to_rgb=False)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    dataset=dict(
        type='CIFAR100',
        split='test',
        data_root='data/cifar100',
        pipeline=[dict(type='mmpretrain.PackInputs')]),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, ))
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()
