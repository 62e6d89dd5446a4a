#!/bin/sh
# How stable the answers of the digits teachers are, and what their students
# have learned. The teachers, and runs of the benchmark over teachers with seed
# 0, 1 or 2, come first. Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
PYTHONPATH=. python -W ignore docs/measured/stability/measure.py
