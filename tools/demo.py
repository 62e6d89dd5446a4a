"""From nothing to students of real digits, trained without data."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['demo', *sys.argv[1:]])
