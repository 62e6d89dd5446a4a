"""Steps of TA-DFKD, plain, fast and compiled, in turn within one process."""
import statistics
import sys
import time
from typing import Any

import torch

from benchmarks.benchmark_config import benchmark_config
from benchmarks.records import write_record
from tadfkd.apis.runner import build_optimizers
from tadfkd.apis.trained import prepare
from tadfkd.registry import MODELS

#: Student steps per generator step, as in the paper.
RATIO = 10
VARIANTS: dict[str, dict[str, Any]] = {
    'plain': dict(fast=False),
    'fast': dict(fast=True),
    'fast, compiled': dict(fast=True, compile=True)
}


def built(config: str, fast: bool, compile: bool = False) -> tuple[Any, Any]:
    """A model with random teacher weights, and its optimisers."""
    options = {'model.batch_size': 64, 'model.compile': compile}
    with benchmark_config(config, options, False, 1, 0, fast) as loaded:
        prepare(loaded)
        torch.manual_seed(0)
        model = MODELS.build(loaded.model).train()
        return model, build_optimizers(loaded, model)


def seconds(model: Any, wrappers: Any, network: str) -> tuple[float, int]:
    """Of one step, and the batches of candidates that it made."""
    before = model.counters.images_generated
    start = time.perf_counter()
    getattr(model, f'{network}_step')(wrappers[network])
    return (time.perf_counter() - start,
            (model.counters.images_generated - before) // model.batch_size)


def main(config: str, repeats: int) -> dict[str, Any]:
    """Medians of all variants."""
    pairs = {name: built(config, **how) for name, how in VARIANTS.items()}
    warmup: dict[str, float] = {}
    for name, pair in pairs.items():
        start = time.perf_counter()
        for network in ('student', 'generator', 'student'):
            seconds(*pair, network)
        warmup[name] = time.perf_counter() - start
    times: dict[str, dict[str, list]] = {
        name: dict(student=[], generator=[], rounds=[])
        for name in pairs
    }
    for _ in range(repeats):
        for network, count in dict(student=2, generator=1).items():
            for name, pair in pairs.items():
                for _ in range(count):
                    took, rounds = seconds(*pair, network)
                    times[name][network].append(took)
                    if network == 'student':
                        times[name]['rounds'].append(rounds)
    found: dict[str, Any] = {}
    for name, row in times.items():
        student, generator = (
            statistics.median(row[network])
            for network in ('student', 'generator'))
        found[name] = dict(
            student_s=student,
            generator_s=generator,
            rounds=statistics.fmean(row['rounds']),
            warmup_s=warmup[name],
            ten_and_one_s=RATIO * student + generator)
    plain = found['plain']['ten_and_one_s']
    for row in found.values():
        row['times_plain'] = plain / row['ten_and_one_s']
    return found


if __name__ == '__main__':
    result = main(sys.argv[1], int(sys.argv[2]))
    for name, row in result.items():
        print(name, {key: round(value, 3) for key, value in row.items()})
    write_record(
        'docs/measured/fast/ratio.json',
        dict(
            command=
            f'python docs/measured/fast/ratio.py {" ".join(sys.argv[1:])}',
            threads=torch.get_num_threads(),
            variants=result),
        name=sys.argv[1].rpartition('/')[2].removesuffix('.py'))
