"""Teacher-agnostic data-free knowledge distillation."""
from typing import TYPE_CHECKING, Any

from tadfkd.version import __version__

if TYPE_CHECKING:
    from tadfkd.apis import (Run, check_teacher, distill, export_student,
                             load_config, load_student, predict, test, train)

__all__ = [
    'Run', '__version__', 'check_teacher', 'distill', 'export_student',
    'load_config', 'load_student', 'predict', 'test', 'train'
]


def __getattr__(name: str) -> Any:
    """A function of ``tadfkd.apis``, imported with torch at its first use."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from tadfkd.utils.startup import check_dependencies
    check_dependencies()
    from tadfkd import apis
    return getattr(apis, name)
