"""What a checkpoint holds of the networks of a distillation."""
from mmengine.model import is_model_wrapper
from torch import nn


def drop_teacher(model: nn.Module, state: dict, prefix: str,
                 metadata: dict) -> None:
    """The frozen teacher is not written again into every checkpoint.

    A wrapped network is written as if it were not wrapped.
    """
    wrapped = {
        f'{prefix}{name}.module.': f'{prefix}{name}.'
        for name, child in model.named_children() if is_model_wrapper(child)
    }
    # One by one, so that the order stays.
    for key in [*state]:
        value = state.pop(key)
        if key.startswith(f'{prefix}teacher.'):
            continue
        for old, new in wrapped.items():
            if key.startswith(old):
                key = new + key.removeprefix(old)
        state[key] = value


def ignore_missing_teacher(model: nn.Module, incompatible: tuple) -> None:
    """A state dict without the teacher lacks nothing."""
    missing = incompatible[0]
    missing[:] = [key for key in missing if not key.startswith('teacher.')]


def ignore_projection(model: nn.Module, state: dict, prefix: str, *_:
                      object) -> None:
    """A model for evaluation does without the projection of a checkpoint."""
    for key in [*state]:
        if key.startswith(f'{prefix}projection.'):
            del state[key]
