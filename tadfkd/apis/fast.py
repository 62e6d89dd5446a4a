"""The settings that make training fast on this machine."""
import shutil
from typing import Any

import torch
from mmengine.config import Config

from tadfkd.algorithms import BaseDFKD
from tadfkd.classifiers.configs import bare_type

#: Student steps from which torch.compile saves more time than it takes.
LONG_RUN = 20_000
#: Optimisers that update all weights in one kernel, on CPUs and GPUs.
_FUSED = ('SGD', 'Adam', 'AdamW')
#: Their settings that a fused one cannot have.
_NOT_FUSED = ('foreach', 'differentiable')


def has_bfloat16() -> bool:
    """Whether this machine computes in bfloat16 by instructions of its own.

    torch also emulates it, which is slower than float32.
    """
    if torch.cuda.is_available():
        # torch.cuda.is_bf16_supported() is true for emulation too.
        return torch.cuda.get_device_capability()[0] >= 8
    # Not there before torch 2.8.
    capabilities: dict[str, Any] = getattr(torch.cpu, 'get_capabilities',
                                           dict)()
    return any(there for name, there in capabilities.items()
               if name.endswith('bf16'))


def can_compile() -> bool:
    """Whether torch.compile finds what it needs: a compiler, and a GPU that
    is not too old for it."""
    if torch.cuda.is_available() \
            and torch.cuda.get_device_capability()[0] < 7:
        return False
    return any(map(shutil.which, ('c++', 'g++', 'clang++')))


def use_fast_settings(config: Config) -> None:
    """Set what makes a distillation fast here, in place.

    Values that the config sets itself stay. The paper's selection stays too:
    ``select_on='augmented'`` saves a pass, but changes the algorithm.

    Args:
        config: Of a distillation; passes in bfloat16 are chosen already.
    """
    model = config.model
    model.setdefault('channels_last', True)
    in_bfloat16 = uses_autocast(config)
    model.setdefault('lean_teacher', 'bfloat16' if in_bfloat16 else 'float32')
    sizes = [
        size for name, size in model.items()
        if name.endswith('batch_size') and size is not None
    ]
    if not torch.cuda.is_available() and isinstance(
            model.get('batch_size'), int) and all(
                isinstance(size, int) for size in sizes):
        # Few sizes, and an eighth of a batch of padding at most. Batches
        # whose size is fixed shall need none.
        multiple = max(1, model.batch_size // 8)
        if not any(size % multiple for size in sizes):
            model.setdefault('pad_to', multiple)
    if not torch.cuda.is_available() and in_bfloat16:
        model.setdefault('small_map_gradients', True)
    if student_steps(config) >= LONG_RUN and can_compile():
        model.setdefault('compile', True)
    for wrapper in _wrappers(config):
        optimizer = wrapper.get('optimizer')
        if isinstance(optimizer, dict) and bare_type(optimizer) in _FUSED \
                and not any(map(optimizer.get, _NOT_FUSED)):
            optimizer.setdefault('fused', True)


def fast_settings(config: Config, model: BaseDFKD) -> str | None:
    """One line on what a distillation computes with, for its log.

    Args:
        config: That of the run.
        model: Built from it.

    Returns:
        The line, or None if every setting is the plain one.
    """
    types = {bare_type(wrapper) for wrapper in _wrappers(config)}
    parts = []
    if 'AutocastOptimWrapper' in types:
        parts.append('bfloat16')
    elif 'AmpOptimWrapper' in types:
        parts.append('the precision of AmpOptimWrapper')
    else:
        parts.append('float32' + (
            '' if has_bfloat16() else ' (no bfloat16 instructions here)'))
    if model.unsafe_channels_last is not None:
        parts.append('channels apart in memory (together, oneDNN would damage '
                     'memory in the backward pass of '
                     f'{model.unsafe_channels_last})')
    elif config.model.get('channels_last'):
        parts.append('channels last')
    if model.teacher.lean is not None:
        parts.append('a lean copy of the teacher')
    if config.model.get('small_map_gradients'):
        parts.append('gradients of small maps by matrix products')
    if model.teacher.pad_to > 1:
        parts.append('batches padded to multiples of '
                     f'{model.teacher.pad_to}')
    if any((wrapper.get('optimizer') or {}).get('fused')
           for wrapper in _wrappers(config)):
        parts.append('fused optimisers')
    if model.compiled_with:
        parts.append('compiled networks')
    if len(parts) == 1 and parts[0].startswith('float32'):
        return None
    return 'computes with: ' + ', '.join(parts)


def uses_autocast(config: Config) -> bool:
    """Whether a network trains with forward passes in bfloat16."""
    return any(
        bare_type(wrapper) == 'AutocastOptimWrapper'
        for wrapper in _wrappers(config) if 'type' in wrapper)


def student_steps(config: Config) -> int:
    """Student steps of a run by epochs; 0 if its schedule is another one, or
    is not in numbers."""
    loader = config.get('train_dataloader') or {}
    iterations = (loader.get('dataset') or {}).get('num_steps')
    epochs = (config.get('train_cfg') or {}).get('max_epochs')
    steps = config.model.get('num_student_steps', 1)
    if isinstance(iterations, int) and isinstance(epochs, int) \
            and isinstance(steps, int):
        return iterations * epochs * steps
    return 0


def _wrappers(config: Config) -> list[Any]:
    content = config.get('optim_wrapper') or {}
    return [part for part in content.values() if isinstance(part, dict)]
