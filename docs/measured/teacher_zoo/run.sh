#!/bin/sh
# Checks mmpretrain's zoo. The record is kept and continued.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python -m benchmarks zoo --all-configs --record docs/measured/teacher_zoo/record.json
python -m benchmarks tables
