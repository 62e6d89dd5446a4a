"""A config of which nothing but its iterations runs."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

from tadfkd.apis import load_config
from tadfkd.errors import require_at_least

#: Files, measures of epochs, the teacher's check: what no iteration waits for.
_AROUND = ('training_state', 'teacher_sanity', 'samples', 'summary', 'health')


@contextmanager
def quiet_config(config: str | os.PathLike, options: dict[str, Any] | None,
                 amp: bool, iterations: int, warmup: int) -> Iterator[Config]:
    """The config for so many iterations in a folder that is then removed.

    Args:
        config: A config that distils.
        options: Dotted keys and values, over those of a benchmark: without a
            teacher's checkpoint its weights are random.
        amp: Whether forward passes are in bfloat16.
        iterations: That are measured, >= 1.
        warmup: That come before in the one epoch, >= 0.

    Raises:
        UserError: If a number is out of range, or the config cannot be used.
    """
    require_at_least('the benchmark', 'iterations', iterations, 1)
    require_at_least('the benchmark', 'warmup', warmup, 0)
    changes = {
        # mmengine's own, which would come back if it were missing.
        'default_hooks.checkpoint': None,
        'model.teacher.allow_random_weights': True,
        'model.teacher.checkpoint': None,
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.num_steps': warmup + iterations
    } | (
        options or {})
    with tempfile.TemporaryDirectory() as work_dir:
        loaded = load_config(
            config, changes, work_dir=work_dir, amp=amp, evaluate=False)
        for name in _AROUND:
            loaded.default_hooks.pop(name, None)
        yield loaded
