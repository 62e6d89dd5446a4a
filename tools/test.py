"""Evaluate the student or the classifier of a checkpoint."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['test', *sys.argv[1:]])
