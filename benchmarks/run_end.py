"""What a run has come to, to be compared bit by bit with another."""
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

# Which no two runs have in common.
_TIMES = re.compile(r'(^|[/_])(data_)?time$|seconds$|^memory$')


def read_run_end(work_dir: Path) -> dict[str, Any]:
    """All that a finished run has written, except for times.

    Args:
        work_dir: Its work directory.

    Returns:
        ``networks``, ``optimizer``, ``training_state`` and the other parts of
        its newest checkpoint; the ``figures`` that mmengine keeps, the
        ``log``, and the contents of its JSON files.

    Raises:
        ValueError: If two processes of the run have logged different figures
            for the same moment.
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
    """Logged figures by their names and iteration (or epoch).

    What a process did after its last checkpoint the next one does again; the
    figures must be the same.
    """
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines(keepends=True):
            # A killed process may have begun one.
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
    """The places where two nests of plain values and tensors differ.

    Tensors are compared bit by bit; what is not a number equals itself.
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
