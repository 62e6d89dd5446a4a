"""Measure how close a config's training is to the arithmetic it needs."""
import argparse
import sys
from pathlib import Path

import torch

from benchmarks import (benchmark_memory, benchmark_scale, benchmark_step,
                        memory_table, profile_training, scale_table,
                        step_table)
from tadfkd.apis.command_line import (add_cfg_options, checkout_commit,
                                      run_tool, typed_command)
from tadfkd.errors import require_at_least
from tadfkd.utils.files import write_json


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument('config', help='path of a config that distils')
    shared.add_argument(
        '--amp', action='store_true', help='forward passes in bfloat16')
    shared.add_argument(
        '--iterations', type=int, default=7, help='that are measured')
    shared.add_argument(
        '--warmup', type=int, default=2, help='that come before')
    shared.add_argument('--threads', type=int, help='of the processor')
    add_cfg_options(shared)
    figures = argparse.ArgumentParser(add_help=False)
    figures.add_argument('--json', metavar='FILE', help='where figures go')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser(
        'step',
        parents=[shared, figures],
        help='the steps beside a bare loop and the passes that they need')
    scale = commands.add_parser(
        'scale',
        parents=[shared, figures],
        help='how the time of an iteration grows')
    scale.add_argument(
        '--batch-sizes', type=int, nargs='+', default=[32, 64, 128, 256])
    scale.add_argument(
        '--class-counts', type=int, nargs='+', default=[10, 100, 1000])
    scale.add_argument(
        '--repeats', type=int, default=3, help='runs of each size, in turn')
    commands.add_parser(
        'memory',
        parents=[shared, figures],
        help='peak memory after a tenth, a half and all of the iterations')
    profile = commands.add_parser(
        'profile', parents=[shared], help='time by phase and operator')
    profile.add_argument(
        '--trace', metavar='FILE', help='where a trace for Perfetto goes')
    return parser.parse_args()


def main() -> None:
    """Parse, measure, print."""
    arguments = parse_arguments()
    if arguments.threads is not None:
        require_at_least('the benchmark', 'threads', arguments.threads, 1)
        torch.set_num_threads(arguments.threads)
    measured = dict(
        options=arguments.cfg_options,
        amp=arguments.amp,
        iterations=arguments.iterations,
        warmup=arguments.warmup)
    config = arguments.config
    if arguments.command == 'profile':
        print(profile_training(config, trace=arguments.trace, **measured))
        return
    if arguments.command == 'scale':
        report = benchmark_scale(
            config,
            arguments.batch_sizes,
            arguments.class_counts,
            repeats=arguments.repeats,
            **measured)
        print(scale_table(report))
    elif arguments.command == 'memory':
        report = benchmark_memory(config, **measured)
        print(memory_table(report))
    else:
        report = benchmark_step(config, **measured)
        print(step_table(report))
    if arguments.json:
        measured_by = dict(
            commit=checkout_commit(), command=typed_command(sys.argv))
        write_json(Path(arguments.json), report | measured_by)


if __name__ == '__main__':
    run_tool(main)
