"""Records of measurements: JSON files that say how they were made."""
import json
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from tadfkd.utils.files import write_json

#: Instructions of a processor that decide how fast it multiplies.
_FLAGS = ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16')
#: Distributions that a record names if they are installed.
_PACKAGES = ('tadfkd', 'torch', 'mmengine', 'mmcv', 'mmcv-lite', 'mmpretrain',
             'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain')


def checkout_commit(folder: str | os.PathLike = '.') -> str:
    """The commit of the checkout in a folder.

    It ends with ``-dirty`` if files were changed. Outside of a checkout it is
    an empty string.
    """
    return subprocess.run(['git', 'describe', '--always', '--dirty'],
                          cwd=folder,
                          capture_output=True,
                          text=True).stdout.strip()


def described(results: dict[str, Any]) -> dict[str, Any]:
    """Results with command, commit, machine and versions.

    Args:
        results: ``command`` replaces the command of this process.
    """
    return dict(
        command=shlex.join(['python', '-m', 'benchmarks', *sys.argv[1:]]),
        commit=checkout_commit(),
        machine=_machine(),
        versions={
            found.name: found.version
            for found in distributions() if found.name in _PACKAGES
        } | dict(python=platform.python_version())) | results


def write_record(path: str | os.PathLike,
                 results: dict[str, Any],
                 name: str | None = None) -> None:
    """Write results with their command, commit, machine and versions.

    Args:
        path: JSON file.
        results: Values that JSON can hold. ``command`` replaces the command
            of this process.
        name: If given, the results become the entry of this name, and the
            file keeps its other entries.
    """
    path = Path(path)
    record = described(results)
    if name is not None:
        known = json.loads(path.read_text()) if path.is_file() else {}
        record = known | {name: record}
    write_json(path, record)


def processor_of(record: dict[str, Any]) -> str:
    """The last instructions in :data:`_FLAGS` that a record's machine has,
    which name its kind of processor; an empty string if it has none."""
    instructions = record.get('machine', {}).get('instructions', [])
    return instructions[-1] if instructions else ''


def _machine() -> dict[str, Any]:
    """The cores, the processor with its instructions, and the GPU."""
    lines: dict[str, str] = {}
    information = Path('/proc/cpuinfo')
    if information.is_file():
        for line in information.read_text().splitlines():
            key, _, value = line.partition(':')
            lines.setdefault(key.strip(), value.strip())
    flags = lines.get('flags', '').split()
    return dict(
        cores=os.cpu_count(),
        processor=lines.get('model name', platform.machine()),
        instructions=[flag for flag in _FLAGS if flag in flags],
        gpu=torch.cuda.get_device_name()
        if torch.cuda.is_available() else None)
