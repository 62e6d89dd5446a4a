"""Signals that ask a run to stop."""
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Signals that ask a run to save and end: Ctrl-C, termination by the system
#: or a scheduler, and what Slurm sends before the time limit, by our script or
#: by submitit. Windows has none of the last two.
STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2')
    if hasattr(signal, name))


class StopRequest:
    """Whether a signal has asked the run to stop.

    Attributes:
        name: The first signal, for example ``'SIGTERM'``, or None.
    """

    def __init__(self) -> None:
        self.name: str | None = None

    def receive(self, number: int, _: FrameType | None) -> None:
        """Record the signal. From now on, Ctrl-C ends the process at once."""
        if self.name is None:
            self.name = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block, stop signals are recorded and do not end the process.

    Python allows signal handlers in the main thread only; in another thread
    the request stays empty. Processes that are forked within the block, such
    as data loader workers, inherit the handlers and continue to work.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {
        number: signal.signal(number, request.receive)
        for number in STOP_SIGNALS
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed by Python, which
            # Python cannot install again.
            signal.signal(number,
                          signal.SIG_DFL if handler is None else handler)
