#!/bin/sh
# How the time of an iteration grows.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=2
python -m benchmarks scale configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --iterations 5 --warmup 1 --repeats 5 --record docs/measured/scale/record.json
python -m benchmarks tables
