"""Check a teacher before a run."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['check', *sys.argv[1:]])
