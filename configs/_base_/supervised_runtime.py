# For configs/teachers/: plain mmpretrain classifiers on real data.
default_scope = 'mmpretrain'
# The data sets and the checkpoint hook are those of tadfkd.
custom_imports = dict(imports=['tadfkd.datasets', 'tadfkd.engine.hooks'])
randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # The back end is for GPUs; on a CPU it is gloo. The timeout is in seconds.
    dist_cfg=dict(backend='nccl', timeout=600))
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='tadfkd.CheckpointHook', interval=10, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'))
visualizer = dict(
    type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
load_from = None
resume = False
