"""Check a teacher before a run, or mmpretrain's whole model zoo."""
import argparse
import json
import math
import sys
from pathlib import Path

from benchmarks.zoo import check_zoo
from benchmarks.zoo_page import write_teachers_page
from tadfkd.apis import check_teacher
from tadfkd.apis.command_line import add_cfg_options, run_tool
from tadfkd.errors import UserError
from tadfkd.evaluation import teacher_page

DOCS = Path(__file__).resolve().parents[1] / 'docs'


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'teacher',
        nargs='?',
        help='a config that distils it, a name of the zoo, a config of a '
        'classifier, timm::NAME, transformers::FOLDER, torchvision::NAME, '
        'package.module:function, or a TorchScript file')
    parser.add_argument('--checkpoint', metavar='FILE', help='its weights')
    parser.add_argument(
        '--student', metavar='NAME', help='a name or config of a student')
    parser.add_argument(
        '--batch-size',
        type=int,
        default=16,
        help='images a step, if the teacher is not in a config')
    parser.add_argument(
        '--min-top1',
        type=float,
        metavar='PERCENT',
        help='accuracy on the evaluation data that the teacher must reach')
    parser.add_argument(
        '--no-eval',
        action='store_true',
        help="leave out the evaluation data of the teacher's config")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--json', action='store_true', help='write JSON, not a page')
    zoo = parser.add_argument_group('the whole zoo, without weights')
    zoo.add_argument(
        '--zoo',
        action='store_true',
        help='check the smallest model of each backbone and head, go on where '
        'an earlier run was stopped, and write docs/teachers.md')
    zoo.add_argument(
        '--families',
        type=lambda text: text.split(','),
        default=[],
        metavar='F,...',
        help='only those with one of these backbones or heads')
    zoo.add_argument(
        '--all-configs',
        action='store_true',
        help='also build a teacher from every name')
    zoo.add_argument(
        '--time-limit', type=float, default=600, help='seconds a model')
    zoo.add_argument(
        '--memory-limit', type=float, default=12, help='GiB a model')
    add_cfg_options(parser)
    arguments = parser.parse_args()
    if (arguments.teacher is None) != arguments.zoo:
        parser.error('name one teacher, or give --zoo')
    return arguments


def _without_nan(value: object) -> object:
    """JSON has no numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    is_bad = isinstance(value, float) and not math.isfinite(value)
    return None if is_bad else value


def main() -> None:
    """Parse, check, print; exit code 1 for a teacher that cannot be used."""
    arguments = parse_arguments()
    if arguments.zoo:
        check_zoo(
            DOCS / 'measured' / 'teacher_zoo.json',
            families=arguments.families,
            all_configs=arguments.all_configs,
            time_limit=arguments.time_limit,
            memory_limit=arguments.memory_limit)
        write_teachers_page(DOCS)
        return
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
    if arguments.json:
        print(json.dumps(_without_nan(report.as_dict()), indent=2))
    else:
        print(teacher_page(report))
    sys.exit(1 if report.problems else 0)


if __name__ == '__main__':
    run_tool(main)
