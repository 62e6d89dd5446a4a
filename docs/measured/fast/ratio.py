"""Steps of TA-DFKD, plain, fast and compiled, in turn."""
import multiprocessing
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy
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


def serve(pipe: Any, config: str, how: dict[str, Any]) -> None:
    """Answer names of networks with the time of a step, in a process."""
    pair = built(config, **how)
    while (network := pipe.recv()) is not None:
        pipe.send(seconds(*pair, network))


def main(config: str, repeats: int) -> dict[str, Any]:
    """Medians of all variants.

    Each has a process of its own, as in a run, and they take turns.
    """
    context = multiprocessing.get_context('spawn')
    pipes, processes = {}, []
    for name, how in VARIANTS.items():
        pipes[name], end = context.Pipe()
        processes.append(
            context.Process(target=serve, args=(end, config, how)))
        processes[-1].start()

    def ask(name: str, network: str) -> tuple[float, int]:
        pipes[name].send(network)
        answer: tuple[float, int] = pipes[name].recv()
        return answer

    warmup: dict[str, float] = {}
    for name in VARIANTS:
        # Building a model is not a first step.
        first = ask(name, 'student')
        start = time.perf_counter() - first[0]
        for network in ('generator', ) * 8 + ('student', ):
            ask(name, network)
        warmup[name] = time.perf_counter() - start
    times: dict[str, dict[str, list]] = {
        name: dict(student=[], generator=[], rounds=[])
        for name in VARIANTS
    }
    for _ in range(repeats):
        for network, count in dict(student=2, generator=1).items():
            for name in VARIANTS:
                for _ in range(count):
                    took, rounds = ask(name, network)
                    times[name][network].append(took)
                    if network == 'student':
                        times[name]['rounds'].append(rounds)
    for process, pipe in zip(processes, pipes.values()):
        pipe.send(None)
        process.join()
    # How often a step generates candidates is chance. All variants are
    # compared at the same number, on a line through their steps.
    rounds = statistics.fmean(count for row in times.values()
                              for count in row['rounds'])
    found: dict[str, Any] = {}
    for name, row in times.items():
        slope, start = numpy.polyfit(row['rounds'], row['student'], 1)
        student = float(start + slope * rounds)
        generator = statistics.median(row['generator'])
        found[name] = dict(
            student_s=student,
            generator_s=generator,
            rounds=rounds,
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
        name=f'{Path(sys.argv[1]).stem}, {sys.argv[3]}')
