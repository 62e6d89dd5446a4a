"""Print seconds and rounds of student steps, and of which code, as JSON.

Usage: time_student_steps.py CONFIG OPTIONS STEPS WARMUP, where OPTIONS is a
dict as JSON. It uses what the package has had from its first commit on, so
that compare_commits.py can run it with the code of any.
"""
import json
import sys
import time

import torch
from mmengine.device import get_device
from mmengine.registry import init_default_scope

import tadfkd
from tadfkd.apis import load_config
from tadfkd.engine import PerNetworkConstructor
from tadfkd.registry import MODELS


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Build the model, train its student for some steps."""
    path, options = sys.argv[1], json.loads(sys.argv[2])
    num_steps, warmup = map(int, sys.argv[3:])
    torch.manual_seed(0)
    config = load_config(path, options)
    init_default_scope('tadfkd')
    model = MODELS.build(config.model).to(get_device()).train()
    wrapper_cfg = config.optim_wrapper.to_dict()
    del wrapper_cfg['constructor']
    wrapper = PerNetworkConstructor(wrapper_cfg)(model)['student']
    seconds, rounds = [], []
    for _ in range(warmup + num_steps):
        images = model.counters.images_generated
        synchronize()
        begin = time.perf_counter()
        model.student_step(wrapper)
        synchronize()
        seconds.append(time.perf_counter() - begin)
        rounds.append(
            (model.counters.images_generated - images) // model.batch_size)
    print(
        json.dumps(
            dict(
                package=tadfkd.__file__,
                seconds=seconds[warmup:],
                rounds=rounds[warmup:])))


if __name__ == '__main__':
    main()
