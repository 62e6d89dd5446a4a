"""The end of a run, for a comparison bit by bit with another run."""
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.resume_point import newest_intact

# Keys of times and memory, which differ between any two runs.
_TIMES = re.compile(r'(^|[/_])(data_)?time$|seconds$|^memory$')


def read_run_end(work_dir: Path) -> dict[str, Any]:
    """All that a finished run has written, except times.

    Args:
        work_dir: Work directory of the run.

    Returns:
        ``networks``, ``optimizer``, ``training_state`` and the other parts of
        the newest checkpoint; the ``figures`` that mmengine keeps, the
        ``log``, and the contents of the JSON files of results.

    Raises:
        ValueError: If the log has two different rows for one iteration.
    """
    path, _ = newest_intact(work_dir)
    assert path is not None
    checkpoint = read_checkpoint(path)
    del checkpoint['meta']
    end = dict(
        networks=checkpoint.pop('state_dict'),
        figures=_without_times(checkpoint.pop('message_hub')['log_scalars']),
        log=_read_log(work_dir),
        **checkpoint)
    for path in sorted(work_dir.glob('*.json')):
        # What the newest process has seen before its first step.
        if path.name != 'report.json':
            end[path.name] = json.loads(path.read_text())
    return _without_times(end)


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(inner)
            for key, inner in value.items() if not _TIMES.search(str(key))
        }
    return value


def _read_log(work_dir: Path) -> dict[str, dict[str, Any]]:
    """Rows of the log by iteration (or epoch) and names.

    A resumed process repeats the iterations since the last checkpoint. It
    must log the same values.
    """
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines(keepends=True):
            # A killed process may leave an incomplete line.
            if not line.endswith('\n'):
                continue
            row = _without_times(json.loads(line))
            name = f'{row.get("iter")}/{row["step"]}: {", ".join(sorted(row))}'
            if rows.setdefault(name, row) != row:
                raise ValueError(f'{work_dir} has two logs of {name}: '
                                 f'{rows[name]} and {row}')
    return rows


def _bytes(values: Tensor) -> Tensor:
    return values.detach().reshape(-1).contiguous().view(torch.uint8)


def differences(expected: Any, found: Any, where: str = '') -> list[str]:
    """Where two nested structures of plain values and tensors differ.

    Tensors are compared bit by bit. NaN equals NaN.

    Returns:
        Paths such as ``'/networks/student.head.fc.bias'``.
    """
    if isinstance(expected, HistoryBuffer):
        expected, found = [*expected.data], [*getattr(found, 'data', ())]
    if isinstance(expected, Tensor):
        same = isinstance(found, Tensor) and expected.dtype == found.dtype \
            and expected.shape == found.shape \
            and torch.equal(_bytes(expected), _bytes(found))
        return [] if same else [where]
    if isinstance(expected, np.ndarray):
        same = isinstance(found, np.ndarray) \
            and expected.dtype == found.dtype \
            and expected.shape == found.shape \
            and expected.tobytes() == found.tobytes()
        return [] if same else [where]
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [*dict.fromkeys([*expected, *found])]
        return [
            place for key in keys for place in (
                [f'{where}/{key}'] if key not in expected or key not in found
                else differences(expected[key], found[key], f'{where}/{key}'))
        ]
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple) \
            and len(expected) == len(found):
        return [
            place for index, pair in enumerate(zip(expected, found))
            for place in differences(*pair, f'{where}/{index}')
        ]
    same = expected == found or (expected != expected and found != found)
    return [] if same else [where]
