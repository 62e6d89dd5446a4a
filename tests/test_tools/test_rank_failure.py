"""A process that dies or hangs ends the run in the others."""
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tool_processes import ROOT, start_forked

from tadfkd.checkpoints.reading import read_checkpoint

#: Seconds after which a process gives up waiting for another one.
TIMEOUT = 8


@pytest.mark.parametrize(
    'how',
    [signal.SIGKILL,
     pytest.param(signal.SIGSTOP, marks=pytest.mark.long)])
def test_a_process_that_dies_or_hangs_ends_the_run(
        digits_config: str, tiny_options: dict[str, Any],
        free_port: Callable[[],
                            int], tmp_path: Path, how: signal.Signals) -> None:
    options = tiny_options | {
        'env_cfg.dist_cfg.timeout': TIMEOUT,
        'train_cfg.max_epochs': 100000,
        'default_hooks.report': None
    }
    port, checkpoint = free_port(), tmp_path / 'last_checkpoint'
    outputs = [[tmp_path / f'{name}_{rank}' for name in ('stdout', 'stderr')]
               for rank in range(2)]
    # As torchrun starts them on two machines, each of which sees only its own.
    first, second = (
        start_forked(
            ROOT / 'tools/train.py', [
                digits_config, '--launcher', 'pytorch', '--no-eval',
                '--work-dir',
                str(tmp_path), '--cfg-options',
                *(f'{key}={value}' for key, value in options.items())
            ],
            dict(
                os.environ,
                RANK=str(rank),
                WORLD_SIZE='2',
                LOCAL_RANK='0',
                MASTER_ADDR='127.0.0.1',
                MASTER_PORT=str(port)), outputs[rank]) for rank in range(2))
    try:
        until = time.monotonic() + 120
        while not checkpoint.exists():
            assert first.exitcode is None, outputs[0][1].read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(second.pid, how)
        # With room for a machine that is busy.
        first.join(TIMEOUT + 15)
        assert first.exitcode not in (0, None), outputs[0][1].read_text()
    finally:
        for process in (first, second):
            process.kill()
            process.join()
    saved = read_checkpoint(checkpoint.read_text())
    assert len(saved['training_state']) == 2
