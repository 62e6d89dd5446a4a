"""Run several configs over several seeds, and record what comes of it.

A run that the record has already, of the same config and seed, is not run
again, so a comparison can be interrupted and gone on with.
"""
import argparse

from tadfkd.apis import compare
from tadfkd.apis.command_line import add_cfg_options, run_tool
from tadfkd.apis.comparison import comparison_table, rewrite_table


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'configs', nargs='*', help='what to run; nothing only writes the page')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--record',
        default='docs/measured/algorithms_digits.json',
        help='JSON file that runs are added to')
    parser.add_argument(
        '--page',
        help='Markdown file whose table is written anew from the record')
    parser.add_argument(
        '--work-dir', default='work_dirs/comparison', help='where runs write')
    parser.add_argument('--teacher-checkpoint', metavar='FILE')
    add_cfg_options(parser, 'settings for all of the configs')
    parser.add_argument(
        '--jobs', type=int, default=1, help='runs at a time, one thread each')
    return parser.parse_args()


def main() -> None:
    """Parse, run, and write the page."""
    arguments = parse_arguments()
    entries = compare(
        arguments.configs,
        arguments.seeds,
        arguments.record,
        options=arguments.cfg_options,
        work_dir=arguments.work_dir,
        teacher_checkpoint=arguments.teacher_checkpoint,
        jobs=arguments.jobs)
    if arguments.page:
        rewrite_table(arguments.page, comparison_table(entries))


if __name__ == '__main__':
    run_tool(main)
