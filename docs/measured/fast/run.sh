#!/bin/sh
# Compares plain runs with --fast: the time of a step, and the student's
# accuracy. Run it from the root of the repository.
set -e
export PYTHONPATH=. OMP_NUM_THREADS=2
python docs/measured/fast/ratio.py configs/tadfkd/resnet34_to_resnet18_cifar10.py 8
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_digits.py
python -m benchmarks compare configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --seeds 0 1 2 3 4 --setting plain --record docs/measured/fast/record.json
python -m benchmarks compare configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --seeds 0 1 2 3 4 --setting fast --fast --record docs/measured/fast/record.json
python -m benchmarks tables
