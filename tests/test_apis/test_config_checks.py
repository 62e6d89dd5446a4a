"""A config with one mistake ends in one sentence, or the run succeeds.

``FUZZ_CASES=500`` in the environment tries that many random mistakes.
"""
import copy
import json
import os
import random
import resource
import select
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from algorithm_helpers import CONFIGS, config_folder, shrinking_options
from mmengine.config import Config
from mmengine.hooks import Hook

from tadfkd.apis import load_config, train
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.errors import UserError
from tadfkd.utils.library_errors import registries

CASES = int(os.environ.get('FUZZ_CASES', 40))
#: Of each kind of schedule one algorithm, and a plain classifier.
ALGORITHMS = ('TADFKD', 'DAFL', 'FastDFKD', 'KAKR')
SUPERVISED = CONFIGS / 'teachers/resnet18w16_digits.py'

#: Seconds until a case counts as hanging.
TIME_LIMIT = 60
#: Bytes that a case may take in addition to those of its parent process.
MEMORY = 2 << 30
HUGE = 10**9
REMOVED = object()
#: Replacements for a number, a name, a list or a component.
VALUES: tuple[Any, ...] = (None, True, 'four', "it's\n", '', [], [1, 'x'], {},
                           dict(type='Nothing'), -1, 0, 1, 1.5, 1e-30,
                           float('nan'), float('inf'), HUGE)
#: Components of several roles. All but one are wrong in any place.
TYPES = ('Nothing', 'SGD', 'L1Loss', 'GMMSelector', 'UpsamplingGenerator',
         'ResNet', 'SummaryHook', 'StepDataset', 'CosineAnnealingLR',
         'OptimWrapper', 'RandomShift', 'BufferReplay', 'PixelGenerator')
#: A huge number of these is a long run, or too many processes: no mistake.
TAKES_LONG = ('num_student_steps', 'num_generator_steps', 'num_replay_steps',
              'num_workers')
#: Parts that the model has copies of or training does not read.
UNREAD = ('teacher', 'student', 'generator', 'replay', 'data_preprocessor',
          'vis_backends', 'dataset_name', 'test_dataloader', 'test_cfg',
          'test_evaluator')


class Enough(Exception):
    """A mistake has made the run longer than one iteration."""


class OneIteration(Hook):
    """Ends such a run."""

    def before_train_iter(self, runner: Any, *_: Any, **named: Any) -> None:
        if runner.iter > 0:
            raise Enough


@pytest.fixture(scope='module')
def configs(tiny_teacher_checkpoint: str) -> list[dict]:
    """Configs of one iteration without a mistake, as JSON has them."""
    contents = []
    for name in ALGORITHMS:
        config = Config.fromfile(
            config_folder(name) / 'resnet18w16_to_resnet18w8_digits.py')
        config.merge_from_dict(
            shrinking_options(name, tiny_teacher_checkpoint)
            | {'train_dataloader.dataset.num_steps': 1})
        contents.append(config.to_dict())
    config = Config.fromfile(SUPERVISED)
    config.merge_from_dict({
        'model.backbone.base_channels': 4,
        'model.backbone.stem_channels': 4,
        'model.head.in_channels': 32,
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.indices': 4
    })
    contents.append(config.to_dict())
    for content in contents:
        content['val_dataloader']['dataset']['indices'] = 4
    return [
        json.loads(
            json.dumps({
                key: value
                for key, value in content.items() if key not in UNREAD
            })) for content in contents
    ]


def paths(path: tuple, value: Any) -> Iterator[tuple[tuple, Any]]:
    """Every key and index of a config, with its value."""
    if path:
        yield path, value
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths((*path, key), inner)


def of_the_same_role(name: str) -> list[str]:
    """Other components of the registry and the room of a component."""
    bare = name.rpartition('.')[2]
    return sorted({
        key
        for registry in registries() if bare in registry.module_dict
        for key, component in registry.module_dict.items()
        if room(component) == room(registry.module_dict[bare])
    } - {bare})


def room(component: Any) -> str:
    """The package of a component, without its file."""
    return component.__module__.rpartition('.')[0]


def mistakes(content: dict) -> Iterator[tuple[tuple, Any]]:
    """Every path of a config, with every value that may replace its own."""
    for path, old in paths((), content):
        if isinstance(old, dict) and isinstance(old.get('type'), str):
            for kind in of_the_same_role(old['type']):
                yield (*path, 'type'), kind
                yield path, dict(type=kind)
        for value in TYPES if path[-1] == 'type' else VALUES:
            if value != old and not (value is HUGE and path[-1] in TAKES_LONG):
                yield path, value
        if isinstance(path[-1], str):
            yield path, REMOVED
        if isinstance(old, dict):
            # A misspelt key beside the others.
            yield (*path, f'{next(iter(old), "x")}s'), 1


def outcome(content: dict, evaluate: bool, folder: Path) -> tuple[str, str]:
    """Train by a config in a fork of this process.

    Returns:
        One of ``'success'``, ``'refused'``, ``'crash'``, ``'hang'`` and
        ``'killed'``, and the message.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        with open(folder / 'output', 'wb') as output:
            for descriptor in (1, 2):
                os.dup2(output.fileno(), descriptor)
        answer = attempt(content, evaluate, folder)
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], TIME_LIMIT)
    with open(reader, 'rb') as pipe:
        text = pipe.read() if ready else b'["hang", ""]'
    if not ready:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    kind, message = json.loads(text) if text else ('killed', str(status))
    return kind, message


def attempt(content: dict, evaluate: bool, folder: Path) -> tuple[str, str]:
    """The outcome, in the forked process."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    path = folder / 'config.json'
    path.write_text(json.dumps(content))
    try:
        train(
            load_config(path, work_dir=str(folder / 'run'), evaluate=evaluate),
            hooks=[OneIteration()])
    except UserError as error:
        return 'refused', str(error)
    except Enough:
        pass
    except BaseException:
        return 'crash', traceback.format_exc()
    return 'success', ''


def complaint(kind: str, message: str, work_dir: Path) -> str:
    """What is wrong with how a run ended, or an empty string."""
    if kind not in ('success', 'refused'):
        return f'{kind}: {message}'
    if kind == 'refused' and ('\n' in message or len(message) < 20
                              or ':' not in message):
        return f'not a sentence: {message}'
    for path in work_dir.rglob('*'):
        if path.suffix == '.tmp':
            return f'{path.name} is left'
        try:
            if path.suffix == '.json' and path.parent == work_dir:
                json.loads(path.read_text())
            if path.suffix == '.pth':
                read_checkpoint(path)
        except ValueError as error:
            return f'{path.name} is torn: {error}'
    return ''


def test_without_a_mistake_a_run_succeeds(configs: list[dict],
                                          tmp_path: Path) -> None:
    assert outcome(configs[0], True, tmp_path) == ('success', '')
    assert (tmp_path / 'run/epoch_1.pth').is_file()


def test_a_mistake_ends_in_one_sentence(configs: list[dict],
                                        tmp_path: Path) -> None:
    dice = random.Random(0)
    complaints = []
    for number in range(CASES):
        content = copy.deepcopy(configs[number % len(configs)])
        path, value = dice.choice([*mistakes(content)])
        *parents, key = path
        part: Any = content
        for parent in parents:
            part = part[parent]
        if value is REMOVED:
            del part[key]
        else:
            part[key] = value
        folder = tmp_path / str(number)
        folder.mkdir()
        start = time.perf_counter()
        # Evaluation takes time, and matters only where its config is wrong.
        kind, message = outcome(content,
                                str(path[0]).startswith('val'), folder)
        case = f'{number % len(configs)}: {".".join(map(str, path))} = ' \
            f'{value!r}'
        print(f'{case}: {kind} {message} '
              f'({time.perf_counter() - start:.1f} s)')
        wrong = complaint(kind, message, folder / 'run')
        if wrong:
            complaints.append(f'{case}: {wrong}')
    assert complaints == []
