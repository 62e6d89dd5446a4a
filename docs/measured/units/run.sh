#!/bin/sh
# Trains two small networks on the digits, with and without batch norm, gives
# `tadfkd check` seven normalisations of each, and writes record.json. Run it
# from the root of the repository.
set -e
export OMP_NUM_THREADS=1
PYTHONPATH=. python -W ignore docs/measured/units/measure.py
