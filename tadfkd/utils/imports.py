"""A start that does not wait for the garbage collector."""
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def modules_that_stay() -> Iterator[None]:
    """What is imported inside is not looked at by the garbage collector, nor
    is anything else that the process has made until then.

    torch, mmpretrain and what they import make half a million objects that
    live as long as the process. Collecting among them while they are imported,
    and once more at exit, is a fourth of the time that a tool takes to start
    and end; while training it would be a pause now and then.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()
