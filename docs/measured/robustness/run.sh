#!/bin/sh
# The benchmark over teachers. It continues where it stopped, so it can be
# called again after an interruption. A run on one core takes minutes.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
record=docs/measured/robustness/record.json
recipe=resnet18w16_digits
for teacher in resnet18w16_digits vgg11bn_digits densenetw8_digits \
        mobilenetv2w25_digits vgg11_digits poolformerw32_digits vitw64_digits \
        convnextw16_digits mixerw64_digits regnetw16_digits swinw32_digits \
        ${recipe}_no_augmentation \
        ${recipe}_label_smoothing ${recipe}_mixup ${recipe}_stopped_early \
        ${recipe}_weight_decay ${recipe}_adam ${recipe}_small_batches \
        ${recipe}_slow_norm \
        resnet18w16_fashion_mnist vgg11bn_fashion_mnist mobilenetv2w25_fashion_mnist \
        vitw64_fashion_mnist convnextw16_fashion_mnist; do
    python tools/train.py configs/teachers/$teacher.py --seed 0 --resume
done
python -m benchmarks teachers --record $record --jobs 2 \
    --methods AgnosticDFKD TA-DFKD --seeds 0 1 2
python -m benchmarks teachers --record $record --jobs 2 --seeds 0
python -m benchmarks tables
