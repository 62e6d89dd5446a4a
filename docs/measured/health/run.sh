#!/bin/sh
# Ten runs that are broken on purpose and ten healthy runs.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_digits.py --seed 0
python -m benchmarks health --epochs 4 --steps 10 --record docs/measured/health/record.json
python -m benchmarks tables
