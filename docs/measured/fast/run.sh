#!/bin/sh
# Compares plain runs with --fast: the time of a step, and the student's
# accuracy. Run it from the root of the repository, with the name of the
# processor's instructions: AVX2, or AMX (with bfloat16).
set -e
processor=${1:?give AVX2 or AMX}
record=docs/measured/fast/record.json
export PYTHONPATH=. OMP_NUM_THREADS=2
python docs/measured/fast/ratio.py configs/tadfkd/resnet34_to_resnet18_cifar10.py 8 $processor
python docs/measured/fast/kernels.py
export OMP_NUM_THREADS=1
compare() {
    python tools/train.py configs/teachers/resnet18w16_$1.py
    config=configs/tadfkd/resnet18w16_to_resnet18w8_$1.py
    shift
    python -m benchmarks compare $config --record $record --setting "plain, $processor" --seeds "$@"
    python -m benchmarks compare $config --record $record --setting "fast, $processor" --fast --seeds "$@"
}
compare digits 0 1 2 3 4
compare fashion_mnist 0 1 2
python -m benchmarks tables
