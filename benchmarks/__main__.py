"""Measure training, and check that kills and broken runs end as they should.

Each command has its own --help.
"""
import argparse
from pathlib import Path

from mmengine.config import DictAction

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments() -> argparse.Namespace:
    """Read the command line.

    ``crashes`` also takes the options of ``tools/train.py``; they are in
    ``more``.
    """
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks', description=__doc__)
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, for example '
        'model.batch_size=64')
    record = argparse.ArgumentParser(add_help=False)
    record.add_argument('--record', metavar='FILE', help='JSON file to write')
    record.add_argument(
        '--name', help='write one entry of the file and keep the others')
    training = argparse.ArgumentParser(add_help=False, parents=[options])
    training.add_argument('config', help='path of a config that distils')
    training.add_argument(
        '--amp', action='store_true', help='forward passes in bfloat16')
    training.add_argument(
        '--fast',
        action='store_true',
        help='the settings that are fast on this machine')
    training.add_argument(
        '--iterations', type=int, default=7, help='measured iterations')
    training.add_argument(
        '--warmup', type=int, default=2, help='iterations before these')
    training.add_argument('--threads', type=int, help='threads of torch')

    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser(
        'step',
        parents=[training, record],
        help='time a step, a plain loop, and the passes that a step needs')
    scale = commands.add_parser(
        'scale',
        parents=[training, record],
        help='how time grows with the batch size and the number of classes')
    scale.add_argument(
        '--batch-sizes', type=int, nargs='+', default=[32, 64, 128, 256])
    scale.add_argument(
        '--class-counts', type=int, nargs='+', default=[10, 100, 1000])
    scale.add_argument(
        '--repeats', type=int, default=3, help='runs per size, in turn')
    commands.add_parser(
        'memory',
        parents=[training, record],
        help='peak memory after a tenth, a half and all of the iterations')
    profile = commands.add_parser(
        'profile', parents=[training], help='time by phase and by operator')
    profile.add_argument(
        '--trace', metavar='FILE', help='write a trace for Perfetto')

    crashes = commands.add_parser(
        'crashes',
        parents=[record],
        help='kill a run many times and compare its end, bit by bit, with a '
        'run that was not killed',
        epilog='All other options go to tools/train.py.')
    crashes.add_argument('config', help='path of a config')
    crashes.add_argument('--kills', type=int, default=100)
    crashes.add_argument(
        '--crash-seed', type=int, default=0, help='seed of the moments')
    crashes.add_argument('--folder', help='keep the runs in this folder')

    health = commands.add_parser(
        'health',
        parents=[record, options],
        help='run broken and healthy distillations under the HealthHook')
    health.add_argument('--work-dir', default='work_dirs/health')
    health.add_argument('--teacher-checkpoint', metavar='FILE')
    health.add_argument('--epochs', type=int, default=4)
    health.add_argument(
        '--steps', type=int, default=10, help='most iterations per epoch')
    health.add_argument(
        '--jobs', type=int, default=1, help='runs at the same time')

    zoo = commands.add_parser(
        'zoo',
        help="check mmpretrain's model zoo as teachers, without weights; go "
        'on where an earlier run stopped')
    zoo.add_argument('--record', metavar='FILE', required=True)
    zoo.add_argument(
        '--families',
        type=lambda text: text.split(','),
        default=[],
        metavar='F,...',
        help='check only models with one of these backbones or heads')
    zoo.add_argument(
        '--all-configs',
        action='store_true',
        help='also build a teacher from every name')
    zoo.add_argument(
        '--time-limit', type=float, default=600, help='seconds per model')
    zoo.add_argument(
        '--memory-limit', type=float, default=12, help='GiB per model')

    step_path = commands.add_parser(
        'step_path',
        parents=[record],
        help='count the files that a training step runs through')
    step_path.add_argument('configs', nargs='+', metavar='CONFIG')

    start = commands.add_parser(
        'start',
        parents=[record],
        help='time what a command does before its work begins')
    start.add_argument(
        '--checkout',
        type=Path,
        default=ROOT,
        metavar='FOLDER',
        help='a checkout of another commit')
    start.add_argument('--repeats', type=int, default=3)

    commands.add_parser(
        'smoke',
        parents=[record],
        help='train, resume, train by two processes, and export')

    compare = commands.add_parser(
        'compare',
        parents=[options],
        help='distil by several configs with several seeds; continue where an '
        'earlier comparison stopped')
    compare.add_argument(
        'configs', nargs='+', help='paths of configs, as configs/...')
    compare.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    compare.add_argument(
        '--record',
        default='work_dirs/comparison/record.json',
        help='JSON file to which runs are added')
    compare.add_argument(
        '--work-dir',
        default='work_dirs/comparison',
        help='folder of the runs')
    compare.add_argument(
        '--teachers',
        nargs='+',
        metavar='CONFIG',
        help='configs of teachers, in place of those of the configs')
    compare.add_argument('--teacher-checkpoint', metavar='FILE')
    compare.add_argument(
        '--fast',
        action='store_true',
        help="take the settings that are fast on this machine; the default of "
        "--setting is then 'fast'")
    compare.add_argument(
        '--setting',
        metavar='NAME',
        help='name of the options, in a record of several settings')
    compare.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='runs at the same time, with one thread each')

    teachers = commands.add_parser(
        'teachers',
        help='distil from many teachers by many methods; continue where an '
        'earlier benchmark stopped')
    teachers.add_argument(
        '--methods', nargs='+', metavar='NAME', help='the default is all')
    teachers.add_argument(
        '--teachers', nargs='+', metavar='NAME', help='the default is all')
    teachers.add_argument('--seeds', nargs='+', type=int, default=[0])
    teachers.add_argument(
        '--record',
        default='work_dirs/teachers_benchmark/record.json',
        help='JSON file to which runs are added')
    teachers.add_argument(
        '--work-dir',
        default='work_dirs/teachers_benchmark',
        help='folder of the runs')
    teachers.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='runs at the same time, with one thread each')

    clock = commands.add_parser(
        'time_to_accuracy',
        help='seconds until a student has 97 percent of its teacher; continue '
        'where an earlier benchmark stopped')
    clock.add_argument(
        '--tasks', nargs='+', metavar='NAME', help='the default is all')
    clock.add_argument(
        '--methods', nargs='+', metavar='NAME', help='the default is all')
    clock.add_argument('--seeds', nargs='+', type=int, default=[0])
    clock.add_argument('--threads', type=int, default=2)
    clock.add_argument(
        '--record',
        default='work_dirs/time_to_accuracy/record.json',
        help='JSON file to which runs are added')
    clock.add_argument(
        '--plot', metavar='FILE.png', help='draw accuracy over time')

    commands.add_parser(
        'tables',
        help='write the tables of the pages from docs/measured and '
        'docs/methods.yml')

    arguments, more = parser.parse_known_args()
    if more and arguments.command != 'crashes':
        parser.error(f'unrecognized arguments: {" ".join(more)}')
    arguments.more = more
    return arguments


def measure_training(arguments: argparse.Namespace) -> None:
    """``step``, ``scale``, ``memory`` and ``profile``."""
    import torch

    from benchmarks import profiling, scale, step, step_report
    from benchmarks.records import write_record
    from tadfkd.errors import require_at_least
    if arguments.threads is not None:
        require_at_least('the benchmark', 'threads', arguments.threads, 1)
        torch.set_num_threads(arguments.threads)
    config = arguments.config
    measured = dict(
        options=arguments.cfg_options,
        amp=arguments.amp,
        fast=arguments.fast,
        iterations=arguments.iterations,
        warmup=arguments.warmup)
    if arguments.command == 'profile':
        print(
            profiling.profile_training(
                config, trace=arguments.trace, **measured))
        return
    if arguments.command == 'scale':
        report = scale.benchmark_scale(
            config,
            arguments.batch_sizes,
            arguments.class_counts,
            repeats=arguments.repeats,
            **measured)
        print(scale.scale_table(report))
    elif arguments.command == 'memory':
        report = scale.benchmark_memory(config, **measured)
        print(scale.memory_table(report))
    else:
        report = step.benchmark_step(config, **measured)
        print(step_report.step_table(report))
    if arguments.record:
        write_record(arguments.record, report, arguments.name)


def main() -> None:
    """Parse and call."""
    arguments = parse_arguments()
    if arguments.command == 'step_path':
        # This command also runs with the package of an older commit.
        from benchmarks.step_path import record_paths
        record_paths(arguments.configs, arguments.record, arguments.name)
        return
    from tadfkd.cli import run_tool
    if arguments.command == 'crashes':
        from benchmarks.crashes import crash_test
        run_tool(
            lambda: crash_test(ROOT / 'tools/train.py', arguments.config,
                               arguments.more, arguments.kills, arguments.
                               crash_seed, arguments.folder, arguments.record))
    elif arguments.command == 'health':
        from benchmarks.health import run_cases
        run_tool(lambda:
                 run_cases(arguments.work_dir, arguments.record, arguments.
                           teacher_checkpoint, arguments.cfg_options, arguments
                           .epochs, arguments.steps, arguments.jobs))
    elif arguments.command == 'zoo':
        from benchmarks.zoo import check_zoo
        run_tool(lambda: check_zoo(
            Path(arguments.record), arguments.families, arguments.all_configs,
            arguments.time_limit, arguments.memory_limit))
    elif arguments.command == 'compare':
        from benchmarks.comparison import Run, comparison_table, complete
        runs = [
            Run(config, seed, arguments.cfg_options, teacher, arguments.setting
                or ('fast' if arguments.fast else None), arguments.fast)
            for seed in arguments.seeds
            for teacher in arguments.teachers or [None]
            for config in arguments.configs
        ]
        run_tool(lambda: print(
            comparison_table(
                complete(runs, arguments.record, arguments.work_dir, arguments.
                         jobs, arguments.teacher_checkpoint))))
    elif arguments.command == 'start':
        from benchmarks.records import write_record
        from benchmarks.start import start_table, time_start
        times = time_start(arguments.checkout, arguments.repeats)
        print(start_table({times['checkout']: times}))
        if arguments.record:
            write_record(arguments.record, times, arguments.name)
    elif arguments.command == 'smoke':
        from benchmarks.records import write_record
        from benchmarks.smoke import smoke_test
        result = smoke_test()
        if arguments.record:
            write_record(arguments.record, result, arguments.name)
    elif arguments.command == 'teachers':
        from benchmarks.teachers import (METHODS, TEACHERS, benchmark_teachers,
                                         robustness_table)
        run_tool(lambda: print(
            robustness_table(
                benchmark_teachers(
                    arguments.methods or list(METHODS), arguments.teachers or
                    list(TEACHERS), arguments.seeds, arguments.record,
                    arguments.work_dir, arguments.jobs))))
    elif arguments.command == 'time_to_accuracy':
        from benchmarks.time_to_accuracy import benchmark_times, times_table
        run_tool(lambda: print(
            times_table(
                benchmark_times(arguments.tasks, arguments.methods, arguments.
                                seeds, arguments.threads, arguments.record,
                                arguments.plot))))
    elif arguments.command == 'tables':
        from benchmarks.tables import write_tables
        run_tool(lambda: write_tables(ROOT))
    else:
        run_tool(lambda: measure_training(arguments))


if __name__ == '__main__':
    main()
