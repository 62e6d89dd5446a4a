"""Signals that ask a run to stop."""
import os
import signal

import pytest

from tadfkd.engine.signals import STOP_SIGNALS, stop_requests


@pytest.mark.parametrize('number', STOP_SIGNALS)
def test_a_signal_is_noted_and_ends_nothing(number: signal.Signals) -> None:
    with stop_requests() as request:
        assert request.name is None
        os.kill(os.getpid(), number)
        assert request.name == number.name
        # A second Ctrl-C would end the process at once.
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        # The first signal counts; Slurm may send further ones.
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.name == number.name
