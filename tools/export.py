"""Write the student of a run in formats that need no tadfkd."""
import argparse

from tadfkd.apis import export_student
from tadfkd.apis.command_line import run_tool
from tadfkd.export.writing import DEFAULT_FORMATS, FORMAT_NAMES


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='work directory of a distillation')
    parser.add_argument(
        '--format',
        nargs='+',
        choices=FORMAT_NAMES,
        default=DEFAULT_FORMATS,
        help='formats beside safetensors, which is always written')
    return parser.parse_args()


def main() -> None:
    """Parse, export, print the folder."""
    arguments = parse_arguments()
    print(export_student(arguments.work_dir, arguments.format))


if __name__ == '__main__':
    run_tool(main)
