"""Print the largest differences between one process and two as a line of JSON.

Usage: python measure.py float32|float64
"""
import json
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[3] / 'tests'
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import one_against_two  # noqa: E402  (lies in the folder added above)


def largest(found: dict, expected: dict) -> dict[str, float]:
    """The largest relative difference of a loss, and of a change."""
    values = one_against_two.differences(found, expected)
    return {
        kind: float(f'{max(values[name] for name in names):.2g}')
        for kind, names in dict(
            loss=[name for name in values if 'iteration' in name],
            change=[name for name in values if 'change' in name]).items()
    }


if __name__ == '__main__':
    torch.set_num_threads(1)
    dtype = sys.argv[1]
    record: dict[str, object] = dict(
        dtype=dtype, instructions=torch.backends.cpu.get_cpu_capability())
    for type in one_against_two.COMPARED:
        one = one_against_two.run(type, dtype)
        two = one_against_two.two_as_one(type, dtype)
        record[type] = dict(two_processes=largest(two, one))
        if dtype == 'float32':
            plain = one_against_two.run(type, dtype, onednn=False)
            record[type] |= dict(
                one_process_without_onednn=largest(plain, one),
                student_loss=[
                    [round(float(losses['student_total']), 4)
                     for losses in run['losses']] for run in (one, two, plain)
                ])
    print(json.dumps(record))
