"""Signals that ask a run to stop."""
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: By these the run is asked to save and to end: the user's Ctrl-C, the
#: system's or a scheduler's end, and what Slurm sends before the time is up,
#: which Windows does not have.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1')
    if hasattr(signal, name))


class StopRequest:
    """Whether a stop was asked for.

    Attributes:
        name: The first signal, as ``'SIGTERM'``; None before one came.
    """

    def __init__(self) -> None:
        self.name: str | None = None

    def receive(self, number: int, _: FrameType | None) -> None:
        """Note the signal; from now on Ctrl-C kills at once."""
        if self.name is None:
            self.name = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Within the block, signals are noted instead of ending the process.

    Handlers are those of the process, so that only the main thread has any;
    in another one nothing is ever noted. Processes that are forked within the
    block, as those of data loaders, note for themselves and work on.
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
            # None was installed from outside of Python and cannot be again.
            signal.signal(number,
                          signal.SIG_DFL if handler is None else handler)
