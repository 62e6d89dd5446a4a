default_scope = 'tadfkd'
randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # The back end is for GPUs; on a CPU it is gloo. The timeout is in seconds.
    dist_cfg=dict(backend='nccl', timeout=600))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(
        type='tadfkd.CheckpointHook', interval=1, max_keep_ckpts=2),
    training_state=dict(type='TrainingStateHook'),
    teacher_sanity=dict(type='TeacherSanityHook'),
    samples=dict(type='SampleGridHook', interval=10),
    summary=dict(type='SummaryHook', last_k=10),
    student_files=dict(type='StudentFilesHook'),
    health=dict(type='HealthHook', action='warn'),
    report=dict(type='ReportHook'))
log_processor = dict(type='LogProcessor', by_epoch=True)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='Visualizer', vis_backends=vis_backends)
# For --launcher only. With device_ids=None it works on CPUs and on GPUs.
model_wrapper_cfg = dict(type='tadfkd.DistributedNetworks', device_ids=None)
log_level = 'INFO'
load_from = None
resume = False
