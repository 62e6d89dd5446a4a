#!/bin/sh
# Times four methods, plain and fast, until the student has 97 % of its
# teacher. Run it from the root of the repository, with nothing else running.
set -e
export OMP_NUM_THREADS=2
python tools/train.py configs/teachers/resnet18w16_digits.py
python -m benchmarks time_to_accuracy --tasks digits --record docs/measured/time_to_accuracy/record.json --plot docs/images/time_to_accuracy.png
python -m benchmarks tables
