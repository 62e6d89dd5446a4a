"""Classify image files by the student of a run."""
import argparse
import csv
import io
import sys

from tadfkd.apis.command_line import run_tool
from tadfkd.export import predict
from tadfkd.utils.files import write_atomically


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'student_dir', help='the folder student/ in the work directory')
    parser.add_argument(
        'images', nargs='+', help='image files, folders or patterns')
    parser.add_argument(
        '--out', metavar='FILE.csv', help='where the table goes, not stdout')
    return parser.parse_args()


def main() -> None:
    """Parse, predict, write a table."""
    arguments = parse_arguments()
    table = io.StringIO()
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['path', 'class', 'probability'])
    for path, label, probability in predict(arguments.student_dir,
                                            arguments.images):
        writer.writerow([path, label, f'{probability:.6f}'])
    if arguments.out is None:
        sys.stdout.write(table.getvalue())
    else:
        write_atomically(arguments.out, table.getvalue().encode())


if __name__ == '__main__':
    run_tool(main)
