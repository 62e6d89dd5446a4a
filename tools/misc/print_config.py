"""Print a config with everything that it inherits."""
import argparse

from tadfkd.apis import load_config
from tadfkd.cli import add_cfg_options, run_tool


def main() -> None:
    """Parse, load, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of a config file')
    add_cfg_options(parser)
    arguments = parser.parse_args()
    print(
        load_config(arguments.config,
                    options=arguments.cfg_options).pretty_text)


if __name__ == '__main__':
    run_tool(main)
