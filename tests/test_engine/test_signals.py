"""Signals that ask a run to stop."""
import os
import signal
import subprocess
import sys
import threading

import pytest

from tadfkd.engine.signals import STOP_SIGNALS, stop_requests


@pytest.mark.parametrize('number', STOP_SIGNALS)
def test_a_signal_is_noted_and_ends_nothing(number: signal.Signals) -> None:
    with stop_requests() as request:
        assert request.name is None
        os.kill(os.getpid(), number)
        assert request.name == number.name
        # The first signal counts; Slurm may send further ones.
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.name == number.name


def test_handlers_are_those_of_before_afterwards() -> None:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with pytest.raises(RuntimeError), stop_requests():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError
    assert before == {
        number: signal.getsignal(number)
        for number in STOP_SIGNALS
    }


def test_a_thread_has_no_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def enter() -> None:
        with stop_requests() as request:
            found.append((request.name, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(None, before)]


def test_a_second_interrupt_kills_at_once() -> None:
    process = subprocess.run([
        sys.executable, '-c', 'import os, signal\n'
        'from tadfkd.engine.signals import stop_requests\n'
        'with stop_requests() as request:\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    print(request.name, flush=True)\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    print("still here")'
    ],
                             capture_output=True,
                             text=True)
    assert process.returncode == -signal.SIGINT
    assert process.stdout == 'SIGINT\n'
