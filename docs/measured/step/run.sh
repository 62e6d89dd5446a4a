#!/bin/sh
# Times one student step and one generator step. Random teacher weights.
# Run it from the root of the repository, with the name of the processor's
# instructions: AVX2 or AMX.
set -e
processor=${1:?give AVX2 or AMX}
export OMP_NUM_THREADS=2
python -m benchmarks step configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --iterations 11 --record docs/measured/step/record.json --name "digits, $processor"
python -m benchmarks step configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --iterations 11 --fast --record docs/measured/step/record.json --name "digits_fast, $processor"
python -m benchmarks step configs/tadfkd/resnet34_to_resnet18_cifar10.py --iterations 4 --warmup 1 --record docs/measured/step/record.json --name "flagship, $processor" --cfg-options model.batch_size=64
python -m benchmarks step configs/tadfkd/resnet34_to_resnet18_cifar10.py --iterations 4 --warmup 1 --fast --record docs/measured/step/record.json --name "flagship_fast, $processor" --cfg-options model.batch_size=64
python -m benchmarks tables
