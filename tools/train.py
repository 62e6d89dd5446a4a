"""Train a student without data, or a teacher on data."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['train', *sys.argv[1:]])
