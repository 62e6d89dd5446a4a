"""Configs with a mistake in them, and what becomes of a run of each.

``python tests/config_fuzz.py --cases 5000 --json FILE`` runs as many as one
likes; a test runs some.
"""
import argparse
import collections
import copy
import gc
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from algorithm_helpers import ALGORITHMS, shrinking_options
from mmengine.config import Config
from mmengine.hooks import Hook
from sklearn.datasets import load_digits

from tadfkd.apis import load_config, test, train
from tadfkd.apis.command_line import run_tool
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.classifiers.outputs import build_classifier
from tadfkd.errors import UserError
from tadfkd.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]
LEAVES = [
    ROOT / 'configs' / name / 'resnet18w16_to_resnet18w8_digits.py'
    for name in map(str.lower, ALGORITHMS)
] + [
    ROOT / 'configs/kakr/resnet18w16_to_resnet18w8_digits_generative.py',
    ROOT / 'configs/teachers/resnet18w16_digits.py'
]
#: Seconds until a case counts as hanging: twenty times what one takes.
TIME_LIMIT = 30
#: Bytes that a case may take beside what it has from its parent.
MEMORY = 2 << 30
HUGE = 10**9

#: Bases of leaves that the leaf has a copy of: nothing reads them.
_UNREAD = ('teacher', 'student', 'generator', 'replay', 'data_preprocessor',
           'vis_backends', 'dataset_name')
#: In place of a number, a name, a list, a component.
_VALUES: tuple[Any, ...] = (None, True, 'four', "it's\n", '', [], [1, 'x'], {},
                            dict(type='Nothing'), -1, 0, 1, 1.5, 1e-30,
                            float('nan'), float('inf'), HUGE)
#: Names of components of several kinds, one of which is wrong anywhere.
_KINDS = ('Nothing', 'SGD', 'L1Loss', 'GMMSelector', 'UpsamplingGenerator',
          'ResNet', 'SummaryHook', 'StepDataset', 'CosineAnnealingLR',
          'OptimWrapper', 'RandomShift', 'BufferReplay', 'NoiseGenerator',
          'PixelGenerator', 'LabelEmbeddingGenerator')
#: Numbers of passes: a huge one is a wish that takes as long, and so many
#: processes are no config's mistake but the end of the machine.
_TAKES_LONG = ('num_student_steps', 'num_generator_steps', 'num_replay_steps',
               'num_workers')
_FILES = ('missing', 'empty', 'text', 'folder', 'torn', 'code', 'tensor',
          'other_weights')
_NAMES_FILES = ('checkpoint', 'load_from', 'recipe', 'data_root')
#: Arguments of ``load_config``.
_ARGUMENTS: dict[str, tuple] = dict(
    work_dir=('a_file', '/proc/none', ''),
    seed=(-1, 'x', 1.5, 2**32, HUGE),
    resume=(True, *_FILES),
    teacher_checkpoint=_FILES,
    amp=(True, ),
    launcher=('pytorch', 'slurm', 'mpi'))
_TEXTS = ("_base_ = './missing.py'", '_base_ = 5', '_base_ = []',
          "_base_ = ['text']", "_base_ = '.'", 'model = ', '',
          'import nothing', 'model = {{_base_.model}}', '1 / 0',
          "custom_imports = 'nothing'",
          "custom_imports = dict(imports=['nothing'])",
          "default_scope = 'nothing'", 'raise SystemExit', '\0')


@dataclass(frozen=True)
class Case:
    """A config, and the one thing that is wrong with it.

    Attributes:
        leaf: Folder and name of the config.
        how: ``'set'``, ``'remove'``, ``'add'`` (a key beside others),
            ``'argument'`` of ``load_config``, or ``'text'`` of the file.
        path: Keys from the root of the config, or the argument's name.
        value: What stands there.
    """

    leaf: str
    how: str
    path: tuple
    value: Any = None

    def __str__(self) -> str:
        path = '.'.join(map(str, self.path))
        return f'{self.leaf}: {self.how} {path} {self.value!r}'


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        kind: ``'success'``, ``'refused'``, ``'crash'``, ``'hang'``,
            ``'killed'``, or ``'torn'`` (by what it left).
        message: The sentence, traceback or file.
        seconds: That it took.
        begun: Whether it had written anything by then.
    """

    kind: str
    message: str
    seconds: float
    begun: bool


def name_of(leaf: Path) -> str:
    """Folder and stem."""
    return f'{leaf.parent.name}/{leaf.stem}'


class Fuzz:
    """All cases, and what runs one.

    Args:
        folder: An empty one, for everything that is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {name: str(folder / 'files' / name) for name in _FILES}
        self.teacher = str(folder / 'teacher.pth')
        self.bases = {name_of(leaf): self._base(leaf) for leaf in LEAVES}
        self._write_files()
        self.count = 0
        # Data are read once, and what a run imports is imported once, and
        # not again by every process.
        self.digits = load_digits(return_X_y=True)
        (folder / 'warm').mkdir()
        self._train(
            Case(name_of(LEAVES[0]), 'set', ('val_cfg', ), {}),
            folder / 'warm')
        gc.collect()
        gc.freeze()

    def _base(self, leaf: Path) -> dict:
        """One iteration of tiny networks."""
        config = Config.fromfile(leaf)
        if leaf.parent.name == 'teachers':
            options = {'backbone.base_channels': 4}
            options |= {'backbone.stem_channels': 4, 'head.in_channels': 32}
            options = {f'model.{key}': value for key, value in options.items()}
            options |= {'train_cfg.max_epochs': 1}
        else:
            # Generative replay is that of PRE-DFKD.
            kind = 'PREDFKD' if leaf.stem.endswith(
                'generative') else config.model.type
            options = shrinking_options(kind, self.teacher)
            options |= {
                'model.batch_size':
                4,
                'model.num_student_steps':
                1,
                'default_hooks.samples.num_images':
                4,
                'default_hooks.summary.num_images':
                4,
                # It asks the teacher more than a whole run does.
                'default_hooks.teacher_sanity':
                dict(type='TeacherSanityHook', num_images=4, min_top1=0.0)
                if config.model.type == 'TADFKD' else None,
            }
        if config.train_dataloader.dataset.type == 'StepDataset':
            options['train_dataloader.dataset.num_steps'] = 1
        else:
            options['train_dataloader.batch_size'] = 4
            options['train_dataloader.dataset.indices'] = 4
        for stage in ('val', 'test'):
            options[f'{stage}_dataloader.dataset.indices'] = 4
        config.merge_from_dict(options)
        read = {
            key: value
            for key, value in config.to_dict().items() if key not in _UNREAD
        }
        # As JSON, which has no tuples.
        return json.loads(json.dumps(read))

    def _write_files(self) -> None:
        folder = self.folder / 'files'
        folder.mkdir()
        teacher = next(base['model']['teacher']['model']
                       for base in self.bases.values()
                       if 'teacher' in base['model'])
        weights = build_classifier(teacher).state_dict()
        torch.save(weights, self.teacher)
        whole = Path(self.teacher).read_bytes()
        (folder / 'empty').touch()
        (folder / 'text').write_text('no checkpoint')
        (folder / 'folder').mkdir()
        (folder / 'torn').write_bytes(whole[:len(whole) // 2])
        torch.save(dict(state_dict=Path('code')), folder / 'code')
        torch.save(torch.zeros(2), folder / 'tensor')
        torch.save(
            dict(state_dict={'a.weight': torch.zeros(2)}, meta={}),
            folder / 'other_weights')

    def cases(self) -> list[Case]:
        """Every case there is; where several configs have a part in common,
        a mistake in it is one case of one of them."""
        found: dict[str, list[Case]] = collections.defaultdict(list)
        for leaf, base in self.bases.items():
            for case in self._cases_of(leaf, base):
                found[str((case.how, case.path, case.value))].append(case)
        dice = random.Random(0)
        return [dice.choice(cases) for cases in found.values()]

    def _cases_of(self, leaf: str, base: dict) -> Iterator[Case]:
        for path, old in _paths((), base):
            key = path[-1]
            values: tuple = _KINDS if key == 'type' else _VALUES
            if key in _NAMES_FILES:
                values = (*_VALUES, *self.files.values())
            for value in values:
                if value is HUGE and key in _TAKES_LONG:
                    continue
                if repr(value) != repr(old):
                    yield Case(leaf, 'set', path, value)
            if isinstance(key, str):
                yield Case(leaf, 'remove', path)
            if isinstance(old, dict):
                for wrong in ('nothing', f'{next(iter(old), "x")}s'):
                    yield Case(leaf, 'add', (*path, wrong), 1)
        for name, values in _ARGUMENTS.items():
            for value in values:
                yield Case(leaf, 'argument', (name, ),
                           self.files.get(value, value))
        for text in _TEXTS:
            yield Case(leaf, 'text', (), text)

    def run(self, case: Case, keep: Path | None = None) -> Outcome:
        """In a process of its own, which is a copy of this one.

        Args:
            case: To be tried.
            keep: Where its checkpoint goes, if that is wanted.
        """
        if case.path and str(case.path[0]).startswith('test'):
            self._checkpoint_of(case.leaf)
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        reader, writer = os.pipe()
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.setsid()
            with open(folder / 'output', 'wb') as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            answer = self._attempt(case, folder)
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        try:
            ready, _, _ = select.select([reader], [], [], TIME_LIMIT)
            answer = b''.join(iter(lambda: os.read(reader, 65536),
                                   b'')) if ready else b'["hang", ""]'
        finally:
            os.close(reader)
            if not ready:
                os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - start
        if not answer:
            answer = json.dumps(['killed', f'wait status {status}']).encode()
        kind, message = json.loads(answer)
        left = self._left(child, folder / 'run')
        if left and kind in ('success', 'refused'):
            kind, message = 'torn', f'{left} after {kind} {message}'
        begun = (folder / 'run').exists()
        if keep is not None:
            (folder / 'run' / 'epoch_1.pth').rename(keep)
        shutil.rmtree(folder)
        return Outcome(kind, message, seconds, begun)

    def _attempt(self, case: Case, folder: Path) -> list[str]:
        """The outcome's kind and message, of this process."""
        used = int(Path('/proc/self/statm').read_text().split()[0])
        gc.disable()
        limit = used * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            with ExitStack() as stack:
                for name, replacement in self._slow_parts().items():
                    stack.enter_context(mock.patch(name, replacement))
                self._train(case, folder)
        except UserError as error:
            return ['refused', str(error)]
        except _Enough:
            return ['success', 'stopped']
        except BaseException:
            return ['crash', traceback.format_exc()]
        return ['success', '']

    def _slow_parts(self) -> dict[str, Any]:
        """What takes longer than all the rest, and no config changes."""
        return {
            'mmengine.config.config.FormatCode': lambda text, **style:
            (text, True),
            'mmengine.runner.runner.collect_env': dict,
            'sklearn.datasets.load_digits': lambda **_: self.digits,
            'tadfkd.engine.hooks.summary.draw_curves': lambda *_: None,
        }

    def _train(self, case: Case, folder: Path) -> None:
        content = copy.deepcopy(self.bases[case.leaf])
        arguments: dict[str, Any] = dict(work_dir=str(folder / 'run'))
        # Data are read where they are what the case is about.
        about = str(case.path[0]) if case.path else ''
        arguments['evaluate'] = about.startswith(('val', 'test'))
        file = folder / 'config.json'
        if case.how == 'text':
            file = folder / 'config.py'
            file.write_text(case.value)
        elif case.how == 'argument':
            value = case.value
            if value == 'a_file':
                value = str(folder / value)
                Path(value).touch()
            arguments[about] = value
        elif case.path:
            *parents, key = case.path
            part: Any = content
            for parent in parents:
                part = part[parent]
            if case.how == 'remove':
                del part[key]
            else:
                part[key] = case.value
            if about == 'work_dir':
                del arguments['work_dir']
        if case.how != 'text':
            file.write_text(json.dumps(content))
        config = load_config(file, **arguments)
        if about.startswith('test'):
            test(config, self._checkpoint_of(case.leaf))
        else:
            train(config, hooks=[_OneIteration()])

    def _checkpoint_of(self, leaf: str) -> Path:
        """What a run of the config without mistakes writes, made once."""
        path = self.folder / f'{leaf.replace("/", "_")}.pth'
        if not path.exists():
            outcome = self.run(Case(leaf, 'set', ()), keep=path)
            assert outcome.kind == 'success', outcome
        return path

    def _left(self, group: int, work_dir: Path) -> str:
        """What a run must not leave: processes, and half of a file."""
        try:
            os.killpg(group, signal.SIGKILL)
            return 'a process'
        except ProcessLookupError:
            pass
        for path in work_dir.rglob('*'):
            if path.suffix == '.tmp':
                return path.name
            try:
                if path.suffix == '.json' and path.parent == work_dir:
                    json.loads(path.read_text())
                if path.suffix == '.pth':
                    read_checkpoint(path)
            except ValueError as error:
                return f'{path.name} ({error})'
        last = work_dir / 'last_checkpoint'
        if last.is_file() and not Path(last.read_text()).is_file():
            return 'last_checkpoint of nothing'
        return ''


class _Enough(Exception):
    """A run goes on beyond its first iteration."""


class _OneIteration(Hook):
    """Ends a run that a case has made longer."""

    def before_train_iter(self, runner: Any, *_: Any, **named: Any) -> None:
        if runner.iter > 0:
            raise _Enough


def _paths(path: tuple, value: Any) -> Iterator[tuple[tuple, Any]]:
    """Every key and index of a config, with what stands there."""
    if path:
        yield path, value
    items = value.items() if isinstance(value, dict) else \
        enumerate(value) if isinstance(value, list | tuple) else ()
    for key, inner in items:
        yield from _paths((*path, key), inner)


def complaint(outcome: Outcome) -> str:
    """What is wrong with how a case ended, or nothing."""
    if outcome.kind not in ('success', 'refused'):
        return f'{outcome.kind}: {outcome.message}'
    message = outcome.message
    if outcome.kind == 'refused' and ('\n' in message or len(message) < 20
                                      or ':' not in message):
        return f'no sentence: {message}'
    return ''


def main() -> None:
    """Run many, and say how each kind of them ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cases', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--match', default='', help='in the case')
    parser.add_argument('--json', metavar='FILE')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        cases = [case for case in fuzz.cases() if arguments.match in str(case)]
        drawn = random.Random(arguments.seed).sample(
            cases, min(arguments.cases, len(cases)))
        counts: collections.Counter = collections.Counter()
        seconds = []
        failed = []
        for case in drawn:
            outcome = fuzz.run(case)
            counts[outcome.kind, outcome.begun] += 1
            seconds.append(outcome.seconds)
            wrong = complaint(outcome)
            if wrong:
                failed.append(asdict(case))
                print(f'--- {case}: {wrong}', flush=True)
            else:
                print(
                    f'{case}: {outcome.kind} {outcome.message} '
                    f'{outcome.seconds:.2f}',
                    flush=True)
        report = dict(
            cases=len(drawn),
            of=len(cases),
            seed=arguments.seed,
            outcomes={
                kind: sum(n for key, n in counts.items() if key[0] == kind)
                for kind in sorted({key[0]
                                    for key in counts})
            },
            refused_before_anything_was_written=counts['refused', False],
            seconds=round(sum(seconds), 1),
            slowest=round(max(seconds), 2),
            failed=failed)
        print(json.dumps(report, default=repr))
        if arguments.json:
            write_json(Path(arguments.json), report)
        sys.exit(bool(failed))


if __name__ == '__main__':
    run_tool(main)
