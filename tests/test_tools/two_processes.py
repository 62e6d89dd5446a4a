"""What each of two processes holds after an epoch; run by torchrun.

Usage: two_processes.py CONFIG WORK_DIR RESUME [KEY=VALUE ...]
Writes WORK_DIR/rank_N.pth with the networks and the random streams.
"""
import os
import sys

import torch
from mmengine.config import DictAction

from tadfkd.apis import load_config, train
from tadfkd.distributed.wrapper import unwrapped

config_path, work_dir, resume, *options = sys.argv[1:]
config = load_config(
    config_path,
    work_dir=work_dir,
    launcher='pytorch',
    resume=resume == 'resume',
    evaluate=False,
    options={
        key: DictAction._parse_iterable(value)
        for key, value in (option.split('=', 1) for option in options)
    })
model = unwrapped(train(config))
torch.save(
    dict(networks=model.state_dict(), training_state=model.training_state()),
    f'{work_dir}/rank_{os.environ["RANK"]}.pth')
