# Real images, for evaluation only; --no-eval leaves them out.
dataset_name = 'tiny_imagenet'
# Images between components are in [0, 1], RGB or grey.
data_preprocessor = dict(
    type='mmpretrain.ClsDataPreprocessor',
    mean=[0.0] * 3,
    std=[255.0] * 3,
    to_rgb=True)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    dataset=dict(
        type='TinyImageNet',
        split='test',
        data_root='data/tiny-imagenet-200',
        pipeline=[
            dict(type='mmpretrain.LoadImageFromFile'),
            dict(type='mmpretrain.PackInputs')
        ]),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, ))
val_cfg = dict()
test_dataloader = val_dataloader
test_evaluator = val_evaluator
test_cfg = dict()
