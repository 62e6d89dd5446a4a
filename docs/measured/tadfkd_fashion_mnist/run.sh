#!/bin/sh
# Distils Fashion-MNIST.
# The figures of record.json are those of summary.json of the run.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_fashion_mnist.py
python tools/train.py configs/tadfkd/resnet18w16_to_resnet18w8_fashion_mnist.py
