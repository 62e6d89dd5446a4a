"""Write the student of a run in formats that need no tadfkd."""
import sys

from tadfkd.cli import main

if __name__ == '__main__':
    main(['export', *sys.argv[1:]])
