"""How many files a reader opens to follow one training step.

The script traces one call of ``train_step`` with ``sys.setprofile`` and looks
at each ``call`` event of a Python function that is defined in the counted
files. It writes the files of these functions in the order of the calls and
merges equal neighbours. What is left is the path of the step:

- *files* is the number of distinct files in the path;
- *changes* is the length of the path minus one.

Returns do not count. A generator function counts again each time that it
resumes, because Python reports a call then. The body of a module that is
imported during the step does not count. Forward passes of the teacher, the
student and the generator count like other calls, as far as their code belongs
to the counted files.

A second path takes each function only once, at its first call. This path is
what a person reads who does not read a function twice. *Changes, each
function once* is the length of that path minus one.

There are two sets of counted files: ``algorithms`` and ``losses`` of the
package, and the whole package. The traced step is the third iteration of a
run with one student step, one generator step and a teacher with random
weights, so that repetitions of a step do not count.
"""
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

#: Iterations before the traced one. They fill pools and import modules.
_WARMUP = 2
#: What a config is set to, if its model has the argument.
_ONE_STEP = dict(
    num_student_steps=1, num_generator_steps=1, warmup_iterations=1)
_ROOMS = ('algorithms', 'losses')


def calls_of(function: Callable[[], Any]) -> list[CodeType]:
    """Run a function and return the code of each Python call, in order."""
    calls: list[CodeType] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == 'call' and frame.f_code.co_name != '<module>':
            calls.append(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def count_path(calls: Sequence[CodeType],
               root: Path,
               folders: Sequence[str] = ()) -> dict[str, Any]:
    """Count files and changes of file in a list of calls.

    Args:
        calls: From :func:`calls_of`.
        root: Only functions that are defined below this folder count.
        folders: Names of folders in ``root``; if given, only functions below
            these folders count.

    Returns:
        ``files`` (int), ``changes`` (int), ``changes_each_function_once``
        (int) and ``path``, the list of files of the last of these counts.
    """
    roots = [root / folder for folder in folders] or [root]
    counted = [
        code for code in calls if any(
            Path(code.co_filename).is_relative_to(folder) for folder in roots)
    ]
    path = _files(counted, root)
    once = _files(dict.fromkeys(counted), root)
    return dict(
        files=len({*path}),
        changes=max(0,
                    len(path) - 1),
        changes_each_function_once=max(0,
                                       len(once) - 1),
        path=once)


def _files(calls: Iterable[CodeType], root: Path) -> list[str]:
    names = (str(Path(code.co_filename).relative_to(root)) for code in calls)
    return [name for name, _ in groupby(names)]


class _Tracer(Hook):
    """Traces the iteration after the first ones."""

    def __init__(self) -> None:
        self.calls: list[CodeType] = []

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Any = None) -> None:
        """Replace the step of the model by a traced one."""
        if batch_idx != _WARMUP:
            return
        step = runner.model.train_step

        def traced(*arguments: Any, **keywords: Any) -> Any:
            results = []
            self.calls = calls_of(
                lambda: results.append(step(*arguments, **keywords)))
            return results[0]

        runner.model.train_step = traced


def trace_step(config: str) -> dict[str, Any]:
    """Trace one step of a config and count its files.

    The function uses only what commit f3954aa has too, so that it can count
    an older checkout.

    Args:
        config: Path of a config that distils.

    Returns:
        ``algorithm``, and the counts of :func:`count_path` for
        ``algorithms_and_losses`` and ``package``.
    """
    import tadfkd
    from tadfkd.apis import load_config, train
    root = Path(tadfkd.__file__).parent
    model = load_config(config).model
    tracer = _Tracer()
    with tempfile.TemporaryDirectory() as work_dir:
        loaded = load_config(
            config,
            options={
                'model.teacher.checkpoint': None,
                'model.teacher.allow_random_weights': True,
                'default_hooks.checkpoint': None,
                'train_cfg.max_epochs': 1,
                'train_dataloader.dataset.num_steps': _WARMUP + 1,
            } | {
                f'model.{name}': value
                for name, value in _ONE_STEP.items() if name in model
            },
            work_dir=work_dir,
            seed=0,
            evaluate=False)
        for name in ('training_state', 'teacher_sanity', 'samples', 'summary',
                     'health', 'student_files', 'report'):
            loaded.default_hooks.pop(name, None)
        train(loaded, hooks=[tracer])
    return dict(
        algorithm=loaded.model.type,
        algorithms_and_losses=count_path(tracer.calls, root, _ROOMS),
        package=count_path(tracer.calls, root))


def record_paths(configs: Sequence[str], record: str | None,
                 name: str | None) -> None:
    """Trace a step of each config, print a table and add it to a record.

    Args:
        configs: Paths of configs that distil.
        record: JSON file, which keeps its other entries. None writes nothing.
        name: The entry in the record, by default the commit.
    """
    torch.set_num_threads(1)
    commit = subprocess.run(['git', 'describe', '--always', '--dirty'],
                            capture_output=True,
                            text=True).stdout.strip()
    entry = dict(
        commit=commit, steps=[trace_step(config) for config in configs])
    print(path_table({name or commit: entry}))
    if record is not None:
        path = Path(record)
        known = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(
            json.dumps(known | {name or commit: entry}, indent=2) + '\n')


def path_table(record: dict[str, Any]) -> str:
    """The record as Markdown, one row per algorithm and checkout."""
    columns = ('files', 'changes', 'changes_each_function_once')
    lines = [
        '| checkout | algorithm | files in algorithms and losses | changes | '
        'changes, each function once | files in the package | changes | '
        'changes, each function once |', '| --- ' * 8 + '|'
    ]
    for name, entry in record.items():
        for step in entry['steps']:
            counts = [
                step[part][column]
                for part in ('algorithms_and_losses', 'package')
                for column in columns
            ]
            lines.append(f'| {name} | {step["algorithm"]} | '
                         f'{" | ".join(map(str, counts))} |')
    return '\n'.join(lines)
