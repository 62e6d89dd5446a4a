"""Run several configs with several seeds, record the results, print a table.

A run that is in the record already is not repeated, so you can interrupt a
comparison and start it again.
"""
import argparse

from tadfkd.apis import compare
from tadfkd.apis.command_line import add_cfg_options, run_tool
from tadfkd.apis.comparison import comparison_table


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', nargs='+', help='paths of configs, as configs/...')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--record',
        default='work_dirs/comparison/record.json',
        help='JSON file to which runs are added')
    parser.add_argument(
        '--work-dir',
        default='work_dirs/comparison',
        help='folder of the runs')
    parser.add_argument('--teacher-checkpoint', metavar='FILE')
    add_cfg_options(parser, 'settings for all configs')
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        help='runs at the same time, with one thread each')
    return parser.parse_args()


def main() -> None:
    """Parse, run and print."""
    arguments = parse_arguments()
    entries = compare(
        arguments.configs,
        arguments.seeds,
        arguments.record,
        options=arguments.cfg_options,
        work_dir=arguments.work_dir,
        teacher_checkpoint=arguments.teacher_checkpoint,
        jobs=arguments.jobs)
    print(comparison_table(entries))


if __name__ == '__main__':
    run_tool(main)
