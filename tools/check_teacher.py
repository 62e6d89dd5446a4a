"""Check a teacher before a run."""
import argparse
import json
import math
import sys
from pathlib import Path

from tadfkd.apis import check_teacher
from tadfkd.apis.command_line import add_cfg_options, run_tool
from tadfkd.apis.teacher_check import recommended_config
from tadfkd.errors import UserError
from tadfkd.evaluation import TeacherReport, teacher_page
from tadfkd.utils.files import write_atomically


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'teacher',
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
        '--write-config',
        metavar='FILE',
        help='write a config that distils the teacher by AgnosticDFKD')
    parser.add_argument(
        '--json', action='store_true', help='print JSON instead of a page')
    add_cfg_options(parser)
    return parser.parse_args()


def _without_nan(value: object) -> object:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    is_bad = isinstance(value, float) and not math.isfinite(value)
    return None if is_bad else value


def write_config(arguments: argparse.Namespace, report: TeacherReport) -> None:
    """Write the recommended config, and say how to use it."""
    path = Path(arguments.write_config)
    config = recommended_config(
        arguments.teacher,
        report,
        Path(__file__).resolve().parents[1] / 'configs',
        checkpoint=arguments.checkpoint,
        student=arguments.student,
        options=arguments.cfg_options)
    write_atomically(path, config.pretty_text.encode())
    print(f'wrote {path}; python tools/train.py {path}', file=sys.stderr)


def main() -> None:
    """Parse, check, print; exit code 1 for a teacher that cannot be used."""
    arguments = parse_arguments()
    written = arguments.write_config
    if written is not None and Path(written).suffix != '.py':
        raise UserError(f'--write-config names {written}, and a config is a '
                        'Python file: name a file that ends with .py')
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
    if written is not None and report.problems:
        print(f'{written} was not written', file=sys.stderr)
    elif written is not None:
        write_config(arguments, report)
    if arguments.json:
        print(json.dumps(_without_nan(report.as_dict()), indent=2))
    else:
        print(teacher_page(report))
    sys.exit(1 if report.problems else 0)


if __name__ == '__main__':
    run_tool(main)
