"""Print a config with everything that it inherits."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['configs', '--show', *sys.argv[1:]])
