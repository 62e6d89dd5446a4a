"""Command-line arguments that several tools take."""
import argparse

from mmengine.config import DictAction


def add_cfg_options(
    parser: argparse.ArgumentParser,
    help: str = 'change settings of the config, for example '
    'model.batch_size=64'
) -> None:
    """Add ``--cfg-options``: dotted keys and values as a dict, or None.

    Args:
        parser: Of a tool that reads a config.
        help: What they change.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=help)
