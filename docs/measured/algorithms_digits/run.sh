#!/bin/sh
# Distils one teacher by every algorithm with three seeds. Some hours.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_digits.py --seed 0
python -m benchmarks compare --seeds 0 1 2 --jobs 2 \
    --record docs/measured/algorithms_digits/record.json \
    configs/adi/resnet18w16_to_resnet18w8_digits.py \
    configs/cmi/resnet18w16_to_resnet18w8_digits.py \
    configs/cmi/resnet18w16_to_resnet18w8_digits_ta.py \
    configs/dafl/resnet18w16_to_resnet18w8_digits.py \
    configs/dafl/resnet18w16_to_resnet18w8_digits_ta.py \
    configs/deepinversion/resnet18w16_to_resnet18w8_digits.py \
    configs/dfad/resnet18w16_to_resnet18w8_digits.py \
    configs/dfad/resnet18w16_to_resnet18w8_digits_ta.py \
    configs/dfq/resnet18w16_to_resnet18w8_digits.py \
    configs/dfq/resnet18w16_to_resnet18w8_digits_ta.py \
    configs/fastdfkd/resnet18w16_to_resnet18w8_digits.py \
    configs/fastdfkd/resnet18w16_to_resnet18w8_digits_ta.py \
    configs/kakr/resnet18w16_to_resnet18w8_digits.py \
    configs/kakr/resnet18w16_to_resnet18w8_digits_generative.py \
    configs/kakr/resnet18w16_to_resnet18w8_digits_released.py \
    configs/mad/resnet18w16_to_resnet18w8_digits.py \
    configs/nayer/resnet18w16_to_resnet18w8_digits.py \
    configs/predfkd/resnet18w16_to_resnet18w8_digits.py \
    configs/randomnoisekd/resnet18w16_to_resnet18w8_digits.py \
    configs/spaceshipnet/resnet18w16_to_resnet18w8_digits.py \
    configs/vanillakd/resnet18w16_to_resnet18w8_digits.py \
    configs/zskt/resnet18w16_to_resnet18w8_digits.py
# These configs are for twice the batch and half as many steps more.
python -m benchmarks compare --seeds 0 1 2 --jobs 2 \
    --record docs/measured/algorithms_digits/record.json \
    configs/tadfkd/resnet18w16_to_resnet18w8_digits.py \
    configs/tadfkd/resnet18w16_to_resnet18w8_digits_basic.py \
    configs/tadfkd/resnet18w16_to_resnet18w8_digits_basic_prior.py \
    --cfg-options train_cfg.max_epochs=10 model.batch_size=64
python -m benchmarks tables
