"""Teacher-agnostic data-free knowledge distillation."""
from tadfkd.utils.startup import check_dependencies
from tadfkd.version import __version__

check_dependencies()

__all__ = ['__version__']
