"""Classify image files by the student of a run."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['predict', *sys.argv[1:]])
