"""Checking the classifiers of mmpretrain's zoo, one process each."""
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
from tadfkd.classifiers.configs import (find_classifier,
                                        without_pretrained_weights)
from tadfkd.classifiers.facts import facts_of
from tadfkd.classifiers.outputs import build_classifier
from tadfkd.errors import UserError, nearest
from tadfkd.teachers.requirements import resolve_facts
from tadfkd.utils.files import write_json
from tadfkd.version import __version__

TASK = 'Image Classification'


@dataclass(frozen=True)
class ZooModel:
    """A name of the zoo.

    Attributes:
        name: As ``mmpretrain.list_models`` has it.
        family: Backbone and head, or the model where it has none.
        size: Multiply-adds (or parameters, where those are not known) by the
            zoo's own record, to find the smallest.
        error: mmpretrain's own, where it cannot read its config.
    """

    name: str
    family: str
    size: float
    error: str | None = None


@functools.cache
def zoo_models() -> tuple[ZooModel, ...]:
    """All classifiers of the zoo, by name. Reads hundreds of configs."""
    from mmpretrain.apis import ModelHub, list_models
    found = []
    for name in list_models(task=TASK):
        try:
            record = ModelHub.get(name)
            model = record.config.model
        except Exception as error:
            # A config is a program: it can fail in any way.
            found.append(ZooModel(name, '-', 0, _first_line(error)))
            continue
        parts = [(model.get(part) or {}).get('type')
                 for part in ('backbone', 'head')]
        family = ' / '.join(part for part in parts if part) or model.type
        size = record.metadata.flops or record.metadata.parameters
        found.append(ZooModel(name, family, size or float('inf')))
    return tuple(found)


def smallest_of_each_family(models: Sequence[ZooModel]) -> list[ZooModel]:
    """One model a pair of backbone and head, in the order of the pairs."""
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
    """Check mmpretrain's zoo without weights, and write down what came out.

    The smallest model of each pair of backbone and head makes two images go
    through a student step and a generator step at its own input size. With
    ``all_configs`` every name is built as a teacher as well. Each has a
    process of its own. What ``record`` holds of the same versions is not
    done again.

    Args:
        record: The JSON file that is read and, after each model, written.
        families: Backbones or heads (``'LeViT'``), of which only those are
            checked; all if empty.
        all_configs: Whether to go through every name at config level.
        time_limit: Seconds a model.
        memory_limit: GiB a model.
        report: Gets a line a model.

    Returns:
        What is in the file.

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
    """The full check, by two images."""
    report = check_teacher(name, batch_size=2, repeats=1)
    return dict(report.as_dict(), error=None)


def _build(name: str) -> dict:
    """Whether the teacher can be built, or mmpretrain's own error."""
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
    """What ``work`` returns, or how its process ended, and the seconds."""
    context = multiprocessing.get_context('forkserver')
    # Imported once, and forked from then on, which CUDA does not survive:
    # mmengine asks for it when it is imported, and this is how that does not
    # touch it.
    os.environ.setdefault('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(work, name, memory_limit, theirs))
    start = time.perf_counter()
    process.start()
    theirs.close()
    outcome: dict = dict(error=f'not done in {time_limit:g} s')
    try:
        if ours.poll(time_limit):
            outcome = ours.recv()
    except EOFError:
        process.join()
        outcome = dict(error=f'the process died ({process.exitcode}), of '
                       f'more than {memory_limit:g} GiB perhaps')
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
        # Whatever a model does becomes a row of the table.
        outcome = dict(error=_first_line(error))
    outcome['peak_gib'] = round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    theirs.send(outcome)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """mmpretrain prints and warns, hundreds of lines for some."""
    with open(os.devnull, 'w') as nowhere, \
            contextlib.redirect_stdout(nowhere), \
            contextlib.redirect_stderr(nowhere):
        yield


def _first_line(error: Exception) -> str:
    # Where packages are installed is nobody's business.
    text = re.sub(r'\S*/site-packages/', '', str(error))
    lines = text.strip().splitlines()
    return f'{type(error).__name__}: {lines[0] if lines else ""}'.strip(': ')
