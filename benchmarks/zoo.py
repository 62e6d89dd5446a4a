"""Check the classifiers of mmpretrain's zoo, each in its own process."""
import contextlib
import functools
import json
import multiprocessing
import os
import platform
import re
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mmpretrain
import torch

from tadfkd.apis.teacher_check import check_teacher
from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.configs import (find_classifier,
                                        without_pretrained_weights)
from tadfkd.classifiers.facts import facts_of
from tadfkd.errors import UserError, nearest
from tadfkd.teachers.requirements import resolve_facts
from tadfkd.utils.files import write_json
from tadfkd.version import __version__

TASK = 'Image Classification'


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo.

    Attributes:
        name: Name in ``mmpretrain.list_models``.
        family: Backbone and head, or the type of a model without them.
        size: Multiply-adds by the zoo's record, or parameters if the record
            has none; used to find the smallest model.
        error: mmpretrain's error if it cannot read the config, else None.
    """

    name: str
    family: str
    size: float
    error: str | None = None


@functools.cache
def zoo_models() -> tuple[ZooModel, ...]:
    """All classifiers of the zoo. This reads hundreds of configs."""
    from mmpretrain.apis import ModelHub, list_models
    found = []
    for name in list_models(task=TASK):
        try:
            record = ModelHub.get(name)
            model = record.config.model
        except Exception as error:
            # A config is a program and can fail in any way.
            found.append(ZooModel(name, '-', 0, _first_line(error)))
            continue
        parts = [(model.get(part) or {}).get('type')
                 for part in ('backbone', 'head')]
        family = ' / '.join(part for part in parts if part) or model.type
        size = record.metadata.flops or record.metadata.parameters
        found.append(ZooModel(name, family, size or float('inf')))
    return tuple(found)


def smallest_of_each_family(models: Sequence[ZooModel]) -> list[ZooModel]:
    """One model per pair of backbone and head, in the order of the pairs."""
    families: dict[str, ZooModel] = {}
    for model in models:
        known = families.setdefault(model.family, model)
        if model.size < known.size:
            families[model.family] = model
    return [
        families[name] for name in sorted(families)
        if families[name].error is None
    ]


def check_zoo(record: Path,
              families: Sequence[str] = (),
              all_configs: bool = False,
              time_limit: float = 600,
              memory_limit: float = 12,
              report: Callable[[str], Any] = print) -> dict:
    """Check mmpretrain's zoo without weights and write a record.

    The smallest model of each pair of backbone and head makes a student step
    and a generator step with two images at its own input size. With
    ``all_configs``, a teacher is also built from every name. Each model has
    its own process. Results of the same versions that are in the record
    already are kept.

    Args:
        record: JSON file, which is written after each model.
        families: Backbones or heads, for example ``'LeViT'``; only models
            with one of them are checked. If empty, all are checked.
        all_configs: Whether to build a teacher from every name.
        time_limit: Seconds per model.
        memory_limit: GiB per model.
        report: Called with one line per model.

    Returns:
        The content of the record.

    Raises:
        UserError: If a family is not in the zoo.
    """
    models = zoo_models()
    chosen = _of_families(models, families)
    versions = dict(
        tadfkd=__version__,
        torch=torch.__version__,
        mmpretrain=mmpretrain.__version__,
        python=platform.python_version())
    results: dict = dict(versions=versions, run={}, configs={})
    if record.is_file():
        known = json.loads(record.read_text())
        if known['versions'] == versions:
            results = known
    results['unreadable'] = {
        model.name: model.error
        for model in models if model.error
    }
    limits = time_limit, memory_limit
    jobs = [('run', _run, model) for model in smallest_of_each_family(chosen)]
    if all_configs:
        jobs += [('configs', _build, model) for model in chosen
                 if model.error is None]
    for level, work, model in jobs:
        if model.name in results[level]:
            continue
        outcome = _in_a_process(work, model.name, *limits)
        results[level][model.name] = dict(family=model.family, **outcome)
        write_json(record, results)
        report(f'{level} {model.name}: '
               f'{outcome.get("error") or outcome.get("verdict", "accepted")}'
               f' ({outcome["seconds"]:.0f} s)')
    write_json(record, results)
    return results


def _of_families(models: Sequence[ZooModel],
                 families: Sequence[str]) -> list[ZooModel]:
    names = {part for model in models for part in model.family.split(' / ')}
    for family in families:
        if family not in names:
            raise UserError(f'the zoo has no backbone or head {family!r}: '
                            f'{nearest(family, names)}')
    return [
        model for model in models
        if not families or set(families) & {*model.family.split(' / ')}
    ]


def _run(name: str) -> dict:
    """Make the full check with two images."""
    report = check_teacher(name, batch_size=2, repeats=1)
    return dict(report.as_dict(), error=None)


def _build(name: str) -> dict:
    """Build a teacher, or return the error (mmpretrain's, if it has one)."""
    try:
        model, config = find_classifier(name, 'the zoo')
        network = build_classifier(without_pretrained_weights(model))
        facts = resolve_facts({}, facts_of(model, config, network), network)
        found = {key: fact.value for key, fact in facts.items()}
        return dict(
            error=None,
            input_size=' x '.join(map(str, found['input_size'])),
            channel_order=found['channel_order'],
            num_classes=found.get('num_classes'))
    except Exception as error:
        try:
            mmpretrain.get_model(name, pretrained=False)
        except Exception as own:
            return dict(error=f'mmpretrain: {_first_line(own)}')
        return dict(error=_first_line(error))


def _in_a_process(work: Callable[[str], dict], name: str, time_limit: float,
                  memory_limit: float) -> dict:
    """Return the result of ``work``, or how its process ended, and the
    seconds."""
    context = multiprocessing.get_context('forkserver')
    # The server imports this module once and forks the processes. mmengine
    # initialises CUDA at import, which breaks forked processes, unless this
    # variable is set.
    os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(work, name, memory_limit, theirs))
    start = time.perf_counter()
    process.start()
    theirs.close()
    outcome: dict = dict(error=f'not finished in {time_limit:g} s')
    try:
        if ours.poll(time_limit):
            outcome = ours.recv()
    except EOFError:
        process.join()
        outcome = dict(error=f'the process died ({process.exitcode}), maybe '
                       f'because it needs more than {memory_limit:g} GiB')
    finally:
        process.kill()
        process.join()
    return dict(outcome, seconds=round(time.perf_counter() - start, 1))


def _child(work: Callable[[str], dict], name: str, memory_limit: float,
           theirs: Connection) -> None:
    limit = int(memory_limit * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        with _silence():
            outcome = work(name)
    except Exception as error:
        # Any failure of a model becomes a row of the table.
        outcome = dict(error=_first_line(error))
    outcome['peak_gib'] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    theirs.send(outcome)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """mmpretrain prints hundreds of lines for some models."""
    with open(os.devnull, 'w') as nowhere, \
            contextlib.redirect_stdout(nowhere), \
            contextlib.redirect_stderr(nowhere):
        yield


def _first_line(error: Exception) -> str:
    # The folder of the packages differs between machines.
    text = re.sub(r'\S*/site-packages/', '', str(error))
    lines = text.strip().splitlines()
    return f'{type(error).__name__}: {lines[0] if lines else ""}'.strip(': ')
