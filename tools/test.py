"""Evaluate the student or the classifier of a checkpoint."""
import argparse

from tadfkd.apis import load_config, test
from tadfkd.apis.command_line import add_cfg_options, run_tool
from tadfkd.distributed.launchers import LAUNCHERS


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config file')
    parser.add_argument('checkpoint', help='a checkpoint of that config')
    parser.add_argument('--work-dir', help='folder of the logs')
    add_cfg_options(parser)
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Parse, build, call."""
    arguments = parse_arguments()
    test(
        load_config(
            arguments.config,
            options=arguments.cfg_options,
            work_dir=arguments.work_dir,
            launcher=arguments.launcher), arguments.checkpoint)


if __name__ == '__main__':
    run_tool(main)
