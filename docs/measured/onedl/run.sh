#!/bin/sh
# Trains, resumes, trains by two processes and exports on the fork, and writes
# record.json. `make smoke-onedl` installs the fork and calls this.
set -e
OMP_NUM_THREADS=1 python -m benchmarks smoke --record docs/measured/onedl/record.json
