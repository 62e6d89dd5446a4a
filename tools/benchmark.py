"""Measure how close a config's training is to the arithmetic it needs."""
import argparse
from pathlib import Path

import torch
from mmengine.config import DictAction

from tadfkd.benchmarks import benchmark_step, profile_training, step_table
from tadfkd.utils.errors import run_tool
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
    shared.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, for example '
        'model.batch_size=64')
    commands = parser.add_subparsers(dest='command', required=True)
    step = commands.add_parser(
        'step',
        parents=[shared],
        help='the steps beside a bare loop and the passes that they need')
    step.add_argument('--json', metavar='FILE', help='where figures go')
    profile = commands.add_parser(
        'profile', parents=[shared], help='time by phase and operator')
    profile.add_argument(
        '--trace', metavar='FILE', help='where a trace for Perfetto goes')
    return parser.parse_args()


def main() -> None:
    """Parse, measure, print."""
    arguments = parse_arguments()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    measured = dict(
        options=arguments.cfg_options,
        amp=arguments.amp,
        iterations=arguments.iterations,
        warmup=arguments.warmup)
    if arguments.command == 'profile':
        print(
            profile_training(
                arguments.config, trace=arguments.trace, **measured))
        return
    report = benchmark_step(arguments.config, **measured)
    print(step_table(report))
    if arguments.json:
        write_json(Path(arguments.json), report)


if __name__ == '__main__':
    run_tool(main)
