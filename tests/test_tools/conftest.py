"""Fixtures that run the tools as a user does."""
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tool_processes import ROOT, run_forked

from tadfkd.classifiers.build import build_classifier


@pytest.fixture(scope='session')
def run_tool_process() -> Callable[..., subprocess.CompletedProcess]:
    """Runs a tool from the root of the repository.

    With ``check=False``, a failed process does not fail the test. With
    ``forked=False``, a new interpreter starts, which is slower; see
    :func:`tool_processes.run_forked`.
    """

    def run(tool: str,
            *arguments: object,
            check: bool = True,
            forked: bool = True) -> subprocess.CompletedProcess:
        path = ROOT / 'tools' / tool
        words = [*map(str, arguments)]
        python = [sys.executable] if tool.endswith('.py') else []
        if python and forked:
            process = run_forked(path, words)
        else:
            process = subprocess.run([*python, path, *words],
                                     cwd=ROOT,
                                     env=dict(
                                         os.environ, PYTHON=sys.executable),
                                     capture_output=True,
                                     text=True,
                                     timeout=300)
        if check:
            assert process.returncode == 0, process.stdout + process.stderr
        return process

    return run


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Finds a port that no process listens to."""

    def find() -> int:
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            return listener.getsockname()[1]

    return find


@pytest.fixture(scope='session')
def teacher_of(
        tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes checkpoints with random weights for configs/teachers/."""
    folder = tmp_path_factory.mktemp('teachers')

    def make(name: str) -> Path:
        path = folder / f'{name}.pth'
        if not path.exists():
            config = Config.fromfile(ROOT / 'configs/teachers' / f'{name}.py')
            network = build_classifier(config.model.to_dict())
            network.init_weights()
            torch.save(dict(state_dict=network.state_dict()), path)
        return path

    return make
