"""The versions that the records of a run hold."""
import platform

import mmengine
import mmpretrain
import torch

from tadfkd.version import __version__


def versions() -> dict[str, str]:
    """Versions of the package, of the libraries below it and of Python."""
    return dict(
        tadfkd=__version__,
        torch=torch.__version__,
        mmengine=mmengine.__version__,
        mmpretrain=mmpretrain.__version__,
        python=platform.python_version())
