"""The command ``tadfkd``. It reads its arguments before it imports torch.

The tools of OpenMMLab projects, such as ``tools/train.py``, call it too.
"""
import argparse
import csv
import fnmatch
import functools
import io
import itertools
import json
import math
import os
import re
import shlex
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tadfkd
from tadfkd.errors import Interrupted, UserError
from tadfkd.utils.shipped import PREFIX, find_config, shipped_configs
from tadfkd.utils.startup import check_dependencies

#: Warnings of the libraries on which no user can act.
NO_ACTION = (r'Fail to import ``MultiScaleDeformableAttention``',
             'Multi-processing start method', 'pkg_resources is deprecated')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


class _CfgOptions(argparse.Action):
    """mmengine's ``DictAction``, imported only if the option is given.

    It also keeps the blanks in a value that is no list.
    """

    def __call__(self,
                 parser: ArgumentParser,
                 namespace: Namespace,
                 values: Any,
                 option_string: str | None = None) -> None:
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, text = pair.partition('=')
            if not equals:
                parser.error(f'{option_string} takes KEY=VALUE, got {pair!r}')
            options[key] = self.value(text)
        setattr(namespace, self.dest, options)

    @staticmethod
    def value(text: str) -> Any:
        """The value that a text stands for."""
        from mmengine.config import DictAction

        # mmengine drops blanks, which a path may have. A list is its own.
        is_list = not {*',[('}.isdisjoint(text)
        return DictAction._parse_iterable(text) \
            if is_list or ' ' not in text else text.strip('\'"')


class _Varied(_CfgOptions):
    """Several values per key; a comma within brackets is part of one."""

    @staticmethod
    def value(text: str) -> list[Any]:
        return [
            _CfgOptions.value(each)
            for each in re.split(r',(?![^\[(]*[\])])', text)
        ]


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options``: dotted keys and values as a dict, or None.

    Args:
        parser: The parser of a tool that reads a config.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_CfgOptions,
        metavar='KEY=VALUE',
        help='change settings of the config, for example '
        'model.batch_size=64')


def _add_config(parser: ArgumentParser) -> None:
    parser.add_argument(
        'config',
        help='a config file, or the name of a shipped one, which '
        '`tadfkd configs` lists')


def _add_launcher(parser: ArgumentParser) -> None:
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    # torch.distributed.launch passes --local_rank; torchrun does not.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def _add_fast(parser: ArgumentParser) -> None:
    parser.add_argument(
        '--fast',
        action='store_true',
        help='take the settings that are fast on this machine; results '
        'change by rounding, and more in bfloat16')


def _add_check(parser: ArgumentParser) -> None:
    parser.add_argument(
        'teacher',
        help='a config that distils it, a name of the zoo, a config of a '
        'classifier, timm::NAME, transformers::FOLDER, torchvision::NAME, '
        'package.module:function, or a TorchScript or ONNX file')
    parser.add_argument('--checkpoint', metavar='FILE', help='its weights')
    parser.add_argument(
        '--student', metavar='NAME', help='a name or config of a student')
    parser.add_argument(
        '--batch-size',
        type=int,
        default=16,
        help='images per step, if the teacher is not in a config')
    parser.add_argument(
        '--min-top1',
        type=float,
        metavar='PERCENT',
        help='least accuracy of the teacher on the evaluation data')
    parser.add_argument(
        '--no-eval',
        action='store_true',
        help="do not use the evaluation data of the teacher's config")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--write',
        metavar='FILE.py',
        help='write a config that distils the teacher by AgnosticDFKD')
    parser.add_argument(
        '--json', action='store_true', help='print JSON instead of a page')
    add_cfg_options(parser)


def _check(arguments: Namespace) -> None:
    """Exit code 1 for a teacher that cannot be used."""
    written = arguments.write
    if written is not None and Path(written).suffix != '.py':
        raise UserError(f'--write names {written}, and a config is a Python '
                        'file: name a file that ends with .py')
    if arguments.teacher.startswith(PREFIX):
        find_config(arguments.teacher)
    from tadfkd.apis.teacher_check import check_teacher, recommended_config
    from tadfkd.evaluation import teacher_page
    from tadfkd.utils.files import write_atomically
    try:
        report = check_teacher(
            arguments.teacher,
            checkpoint=arguments.checkpoint,
            student=arguments.student,
            options=arguments.cfg_options,
            batch_size=arguments.batch_size,
            min_top1=arguments.min_top1,
            seed=arguments.seed,
            evaluate=not arguments.no_eval)
    except UserError as error:
        if arguments.json:
            print(json.dumps(dict(verdict=f'unusable: {error}')))
        raise
    if written is not None and not report.problems:
        config = recommended_config(
            arguments.teacher,
            report.facts,
            report.num_parameters,
            checkpoint=arguments.checkpoint,
            student=arguments.student,
            options=arguments.cfg_options)
        write_atomically(written, config.pretty_text.encode())
    if arguments.json:
        print(json.dumps(_without_nan(report.as_dict()), indent=2))
    else:
        print(teacher_page(report), flush=True)
    # Not on stdout, whose last line is the verdict.
    if written is None and not report.problems:
        print(
            'next: --write my_run.py writes a config that distils this '
            'teacher',
            file=sys.stderr)
    elif written is not None:
        print(
            f'{written} was not written' if report.problems else
            f'wrote {written}; next: tadfkd train {shlex.quote(written)}',
            file=sys.stderr)
    sys.exit(1 if report.problems else 0)


def _without_nan(value: object) -> object:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    is_bad = isinstance(value, float) and not math.isfinite(value)
    return None if is_bad else value


def _add_train(parser: ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument('--work-dir', help='where logs and checkpoints go')
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        default=False,
        help='resume from the given checkpoint, or without a name from the '
        'newest intact one in the work directory, if there is one')
    parser.add_argument(
        '--amp', action='store_true', help='forward passes in bfloat16')
    _add_fast(parser)
    parser.add_argument('--seed', type=int, help='seed of the run')
    parser.add_argument(
        '--teacher',
        metavar='TEACHER',
        help='another teacher in place of that in the config: a config, such '
        'as those that `tadfkd configs teachers/` lists, or a name as for '
        '`tadfkd check`')
    parser.add_argument(
        '--teacher-checkpoint',
        metavar='FILE',
        help="the teacher's weights, in place of the config's")
    parser.add_argument(
        '--no-eval',
        action='store_true',
        help='train without any evaluation data')
    parser.add_argument(
        '--once',
        action='store_true',
        help='do nothing if the work directory has the finished run, resume '
        'it if it was interrupted, and write status.json')
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='print everything that the log file has')
    recorders = parser.add_argument_group('recorders, beside the log file')
    recorders.add_argument('--tensorboard', action='store_true')
    recorders.add_argument('--wandb', metavar='PROJECT')
    recorders.add_argument(
        '--mlflow',
        nargs='?',
        const='mlruns',
        metavar='FOLDER_OR_URI',
        help='the folder is mlruns if none is named')
    recorders.add_argument('--aim', action='store_true')
    add_cfg_options(parser)
    _add_launcher(parser)


def _train(arguments: Namespace) -> None:
    find_config(arguments.config)
    if (arguments.teacher or '').endswith('.py'):
        find_config(arguments.teacher)
    if arguments.once and (arguments.work_dir is None
                           or arguments.launcher != 'none'):
        raise UserError('--once is for one process and a folder of its own: '
                        'give --work-dir, and no --launcher')
    if sys.stdout.isatty():
        # The imports take seconds. The next line is longer, and covers this.
        print('loading ...', end='\r', flush=True)
    from tadfkd.apis import load_config, train
    load = functools.partial(
        load_config,
        arguments.config,
        options=arguments.cfg_options,
        work_dir=arguments.work_dir,
        seed=arguments.seed,
        resume=arguments.resume or arguments.once,
        amp=arguments.amp,
        fast=arguments.fast,
        launcher=arguments.launcher,
        teacher=arguments.teacher,
        teacher_checkpoint=arguments.teacher_checkpoint,
        evaluate=not arguments.no_eval,
        recorders=_recorders(arguments))
    make = functools.partial(train, verbose=arguments.verbose)
    if arguments.once:
        from tadfkd.sweeps.run_status import make_once
        make_once(Path(arguments.work_dir), load, make)
        return
    try:
        make(load())
    except Interrupted as interruption:
        # With several processes, the command of the launcher is not known.
        if arguments.launcher == 'none':
            print(
                f'{interruption}: {resuming_command(sys.argv)}',
                file=sys.stderr)
        raise


def _recorders(arguments: Namespace) -> list[dict[str, Any]]:
    """mmengine's back ends for the options of a command line."""
    chosen: list[dict[str, Any]] = []
    if arguments.tensorboard:
        chosen.append(dict(type='TensorboardVisBackend'))
    if arguments.wandb is not None:
        chosen.append(
            dict(
                type='WandbVisBackend',
                init_kwargs=dict(project=arguments.wandb)))
    if arguments.mlflow is not None:
        uri = arguments.mlflow
        if '://' not in uri:
            uri = Path(uri).resolve().as_uri()
            # MLflow writes to a folder only if this variable allows it.
            os.environ.setdefault('MLFLOW_ALLOW_FILE_STORE', 'true')
        chosen.append(
            dict(type='MLflowVisBackend', tracking_uri=uri, exp_name='tadfkd'))
    if arguments.aim:
        chosen.append(dict(type='AimVisBackend'))
    return chosen


def resuming_command(arguments: Sequence[str]) -> str:
    """The command that resumes a run.

    Args:
        arguments: ``sys.argv`` of the run.
    """
    # The last --resume counts, if the run itself resumed from a checkpoint.
    more = [] if arguments[-1] == '--resume' else ['--resume']
    return shlex.join([sys.executable, *arguments, *more])


def _add_test(parser: ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument('checkpoint', help='a checkpoint of that config')
    parser.add_argument('--work-dir', help='folder of the logs')
    parser.add_argument(
        '--out', metavar='FILE.csv', help='where the predictions go')
    add_cfg_options(parser)
    _add_launcher(parser)


def _test(arguments: Namespace) -> None:
    find_config(arguments.config)
    from tadfkd.apis import load_config, test
    test(
        load_config(
            arguments.config,
            options=arguments.cfg_options,
            work_dir=arguments.work_dir,
            launcher=arguments.launcher), arguments.checkpoint, arguments.out)


def _add_export(parser: ArgumentParser) -> None:
    parser.add_argument('work_dir', help='work directory of a distillation')
    parser.add_argument(
        '--format',
        nargs='+',
        default=['torch.export'],
        help='torch.export, onnx, onnx-int8, torchscript or mmpretrain, '
        'beside safetensors, which is always written')
    parser.add_argument(
        '--push',
        metavar='OWNER/NAME',
        help='upload the student to this repository of the Hugging Face Hub')


def _export(arguments: Namespace) -> None:
    from tadfkd.apis import export_student
    from tadfkd.export import push_student, require_hub
    if arguments.push is not None:
        require_hub(arguments.push)
    folder = export_student(arguments.work_dir, arguments.format)
    print(folder)
    if arguments.push is not None:
        print(push_student(folder, arguments.push))


def _add_predict(parser: ArgumentParser) -> None:
    parser.add_argument(
        'student_dir', help='the folder student/ in the work directory')
    parser.add_argument(
        'images', nargs='+', help='image files, folders or patterns')
    parser.add_argument(
        '--out', metavar='FILE.csv', help='where the table goes, not stdout')
    parser.add_argument(
        '--trust-program',
        action='store_true',
        help='run student.pt2, for a student that is a network of your own')


def _predict(arguments: Namespace) -> None:
    from tadfkd.export import predict
    from tadfkd.utils.files import write_atomically
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['path', 'class', 'probability'])
    for path, label, probability in predict(
            arguments.student_dir,
            arguments.images,
            trust_program=arguments.trust_program):
        writer.writerow([path, label, f'{probability:.6f}'])
    if arguments.out is None:
        sys.stdout.write(table.getvalue())
    else:
        write_atomically(arguments.out, table.getvalue().encode())


def _add_report(parser: ArgumentParser) -> None:
    parser.add_argument('work_dir', help='work directory of a distillation')


def _report(arguments: Namespace) -> None:
    from tadfkd.report.page import write_report
    print(write_report(arguments.work_dir))


def _add_configs(parser: ArgumentParser) -> None:
    parser.add_argument(
        'pattern',
        nargs='?',
        default='',
        help='a part of the name, in which * stands for anything')
    parser.add_argument(
        '--show',
        metavar='CONFIG',
        help='print this config with everything that it inherits')
    add_cfg_options(parser)


def _configs(arguments: Namespace) -> None:
    if arguments.show is not None:
        find_config(arguments.show)
        from tadfkd.apis import load_config
        print(load_config(arguments.show, arguments.cfg_options).pretty_text)
        return
    names = fnmatch.filter(shipped_configs(), f'*{arguments.pattern}*')
    if not names:
        raise UserError(f'no shipped config has {arguments.pattern!r} in its '
                        'name: `tadfkd configs` lists all of them')
    print('\n'.join(names))


def _add_sweep(parser: ArgumentParser) -> None:
    parser.add_argument('--config', nargs='+', required=True, metavar='CONFIG')
    parser.add_argument(
        '--teacher',
        nargs='+',
        metavar='TEACHER',
        help="as for `tadfkd train`; the default is the config's own")
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=_seeds,
        default=[range(1)],
        metavar='N',
        help='numbers, or ranges such as 0:3, which is 0, 1 and 2')
    parser.add_argument(
        '--set',
        nargs='+',
        action=_Varied,
        metavar='KEY=V1,V2',
        help='settings with several values, each of which gets runs')
    parser.add_argument(
        '--no-eval',
        action='store_true',
        help='train without any evaluation data')
    parser.add_argument(
        '--out', type=Path, required=True, help='the folder of all runs')
    parser.add_argument(
        '--launch',
        default='local:1',
        metavar='local:N|slurm|print',
        help='make N runs at a time here, submit a job array, or print the '
        'commands')
    parser.add_argument(
        '--slurm',
        nargs='+',
        action=_CfgOptions,
        metavar='KEY=VALUE',
        help='parameters of submitit, such as timeout_min=240 '
        'gpus_per_node=1 slurm_partition=gpu')
    add_cfg_options(parser)


def _seeds(text: str) -> range:
    first, colon, end = text.partition(':')
    seeds = range(int(first), int(end) if colon else int(first) + 1)
    if not seeds or seeds[0] < 0:
        raise ValueError
    return seeds


def _sweep(arguments: Namespace) -> None:
    """Exit code 1 if a run has not finished."""
    teachers = arguments.teacher or [None]
    for path in (*arguments.config,
                 *(name for name in teachers if (name or '').endswith('.py'))):
        find_config(path)
    from tadfkd.sweeps.executors import make_runs
    from tadfkd.sweeps.planning import plan_runs
    runs = plan_runs(arguments.out, arguments.config, teachers,
                     [*itertools.chain(*arguments.seeds)], arguments.set or {},
                     arguments.cfg_options, not arguments.no_eval)
    succeed = make_runs(runs, arguments.out, arguments.launch, arguments.slurm
                        or {})
    if arguments.launch != 'print':
        from tadfkd.sweeps.collecting import collect, sweep_table
        print(sweep_table(collect(arguments.out)))
    sys.exit(0 if succeed else 1)


def _add_table(parser: ArgumentParser) -> None:
    parser.add_argument('out', type=Path, help='the folder of a sweep')
    parser.add_argument(
        '--format', choices=('markdown', 'csv'), default='markdown')
    parser.add_argument(
        '--plot',
        type=Path,
        metavar='FILE.png',
        help='draw a strip per config with a dot per teacher')


def _table(arguments: Namespace) -> None:
    from tadfkd.sweeps.collecting import collect, plot_sweep, sweep_table
    runs = collect(arguments.out)
    print(sweep_table(runs, arguments.format))
    if arguments.plot is not None:
        plot_sweep(runs, arguments.plot)


def _add_demo(parser: ArgumentParser) -> None:
    parser.add_argument('--seed', type=int, default=0, help='seed of the run')
    _add_fast(parser)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs', 'demo'),
        help='folder of all results')
    parser.add_argument(
        '--steps',
        type=int,
        help='iterations of each run, to see in a minute that everything '
        'works; the accuracies then say nothing')


def _demo(arguments: Namespace) -> None:
    from tadfkd.apis.demo import run_demo
    print('\n' + run_demo(arguments.work_dir, arguments.seed, arguments.steps,
                          arguments.fast))


class Command(NamedTuple):
    """A command, its options, and what it does with them."""

    description: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], None]


#: All commands by name.
COMMANDS = {
    'check':
    Command('Check a teacher before a run.', _add_check, _check),
    'train':
    Command('Train a student without data, or a teacher on data.', _add_train,
            _train),
    'test':
    Command('Evaluate the student or the classifier of a checkpoint.',
            _add_test, _test),
    'export':
    Command('Write the student of a run in formats that need no tadfkd.',
            _add_export, _export),
    'predict':
    Command('Classify image files by the student of a run.', _add_predict,
            _predict),
    'report':
    Command('Write report.html, the page about a run, again.', _add_report,
            _report),
    'configs':
    Command('List the shipped configs, or print one.', _add_configs, _configs),
    'sweep':
    Command('Make runs of several configs, teachers and seeds.', _add_sweep,
            _sweep),
    'table':
    Command('Print a table of the runs in the folder of a sweep.', _add_table,
            _table),
    'demo':
    Command('Distil two teachers of real digits, by TA-DFKD and AgnosticDFKD.',
            _add_demo, _demo),
}


def main(words: Sequence[str] | None = None) -> None:
    """Do what a command line says.

    Modules of the working directory can be imported meanwhile.

    Args:
        words: The command line without its first word; None takes that of
            the process.
    """
    parser = ArgumentParser(prog='tadfkd', description=tadfkd.__doc__)
    parser.add_argument(
        '--version', action='version', version=f'tadfkd {tadfkd.__version__}')
    parsers = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(
            parsers.add_parser(
                name,
                help=command.description,
                description=command.description))
    arguments = parser.parse_args(words)
    sys.path.insert(0, '')

    if not getattr(arguments, 'verbose', False):
        for message in NO_ACTION:
            warnings.filterwarnings('ignore', message)

    def tool() -> None:
        check_dependencies()
        COMMANDS[arguments.command].run(arguments)

    run_tool(tool)


def run_tool(tool: Callable[[], object]) -> None:
    """Run a tool. A :class:`UserError` ends it with one line on stderr."""
    try:
        try:
            tool()
        except UserError:
            raise
        except Exception:
            # This imports mmengine, which takes time.
            from tadfkd.utils.library_errors import \
                registry_errors_as_user_errors
            with registry_errors_as_user_errors():
                raise
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == '__main__':
    main()
