#!/bin/sh
# Distils for five times as many steps.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_digits.py --seed 0
python -m benchmarks compare --seeds 0 --jobs 2 \
    --record docs/measured/algorithms_digits_long/record.json \
    configs/dafl/resnet18w16_to_resnet18w8_digits.py \
    configs/dfad/resnet18w16_to_resnet18w8_digits.py \
    configs/randomnoisekd/resnet18w16_to_resnet18w8_digits.py \
    configs/zskt/resnet18w16_to_resnet18w8_digits.py \
    --cfg-options train_cfg.max_epochs=50
python -m benchmarks tables
