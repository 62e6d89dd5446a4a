#!/bin/sh
# Distils the digits: five seeds with one teacher, four with their own.
# The figures of record.json are those of summary.json of each run.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
make demo SEED=0
make demo SEED=1
make demo SEED=2
make demo SEED=3
make demo SEED=4
python tools/demo.py --seed 1 --work-dir work_dirs/demo_1
python tools/demo.py --seed 2 --work-dir work_dirs/demo_2
python tools/demo.py --seed 3 --work-dir work_dirs/demo_3
python tools/demo.py --seed 4 --work-dir work_dirs/demo_4
