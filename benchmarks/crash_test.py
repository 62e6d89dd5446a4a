"""Kill a run many times, and compare its end with that of one left alone."""
import argparse
import tempfile
from pathlib import Path

from benchmarks.crashes import CrashTest
from tadfkd.apis.command_line import checkout_commit
from tadfkd.utils.files import write_json

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments() -> tuple[argparse.Namespace, list[str]]:
    """The command line; what it does not know is for tools/train.py."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='All other options are those of tools/train.py.')
    parser.add_argument('config', help='path of a config file')
    parser.add_argument('--kills', type=int, default=100)
    parser.add_argument(
        '--crash-seed', type=int, default=0, help='of the moments')
    parser.add_argument('--folder', help='where the runs stay')
    parser.add_argument('--json', metavar='FILE', help='where the record goes')
    return parser.parse_known_args()


def main() -> None:
    """Parse, kill, record."""
    arguments, more = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary).resolve()
        test = CrashTest(ROOT / 'tools/train.py', [arguments.config, *more],
                         folder, arguments.crash_seed)
        record = test.run(arguments.kills)
    if arguments.json:
        write_json(
            arguments.json,
            dict(
                commit=checkout_commit(),
                config=arguments.config,
                options=more,
                seed=arguments.crash_seed) | record)
    print(f'{record["kills"]} kills ({record["moments"]}), of which '
          f'{record["half_written"]} left a half-written checkpoint; '
          f'{record["runs_that_differ"]} of {record["runs"]} runs ended '
          'otherwise than one that was left alone')


if __name__ == '__main__':
    main()
