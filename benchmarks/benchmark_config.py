"""A config that runs its iterations and nothing else."""
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

from tadfkd.apis import load_config
from tadfkd.errors import require_at_least

#: Hooks that write files, measure epochs or check the teacher.
_HOOKS = ('teacher_sanity', 'samples', 'summary', 'health', 'student_files',
          'report')


@contextmanager
def benchmark_config(config: str | os.PathLike,
                     options: dict[str, Any] | None,
                     amp: bool,
                     iterations: int,
                     warmup: int,
                     fast: bool = False) -> Iterator[Config]:
    """A config for one short epoch in a temporary folder.

    Args:
        config: Path of a config that distils.
        options: Dotted keys and values. Without a checkpoint of the teacher
            in them, its weights are random.
        amp: Whether forward passes are in bfloat16.
        iterations: Measured iterations, >= 1.
        warmup: Iterations before these, >= 0.
        fast: See :func:`~tadfkd.apis.load_config`.

    Yields:
        The loaded config.

    Raises:
        UserError: If a number is out of range, or the config cannot be used.
    """
    require_at_least('the benchmark', 'iterations', iterations, 1)
    require_at_least('the benchmark', 'warmup', warmup, 0)
    changes = {
        # Not removed: mmengine would add its default hook.
        'default_hooks.checkpoint': None,
        'model.teacher.allow_random_weights': True,
        'model.teacher.checkpoint': None,
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.num_steps': warmup + iterations
    } | (
        options or {})
    with tempfile.TemporaryDirectory() as work_dir:
        loaded = load_config(
            config,
            changes,
            work_dir=work_dir,
            amp=amp,
            fast=fast,
            evaluate=False)
        for name in _HOOKS:
            loaded.default_hooks.pop(name, None)
        yield loaded
