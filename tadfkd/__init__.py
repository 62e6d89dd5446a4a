"""Teacher-agnostic data-free knowledge distillation."""
from tadfkd.utils.onednn import keep_compiled_kernels
from tadfkd.utils.startup import check_dependencies
from tadfkd.version import __version__

check_dependencies()
keep_compiled_kernels()

__all__ = ['__version__']
