#!/bin/sh
# Counts the files of one training step, at commit f3954aa and now, and adds
# both counts to record.json. Run it from the root of the repository.
set -e
here=$PWD
record=$here/docs/measured/step_path/record.json
set -- configs/tadfkd/resnet18w16_to_resnet18w8_digits.py \
    configs/dfq/resnet18w16_to_resnet18w8_digits.py \
    configs/cmi/resnet18w16_to_resnet18w8_digits.py \
    configs/fastdfkd/resnet18w16_to_resnet18w8_digits.py \
    configs/kakr/resnet18w16_to_resnet18w8_digits.py
export OMP_NUM_THREADS=1

# Python looks for tadfkd in the current folder first. Commit f3954aa has no
# folder of the name benchmarks, which comes from this checkout.
old=$(mktemp -d)
git worktree add --detach "$old" f3954aa
(cd "$old" && PYTHONPATH=$here python -m benchmarks step_path "$@" \
    --name 'f3954aa' --record "$record")
git worktree remove --force "$old"

python -m benchmarks step_path "$@" --name 'now' --record "$record"
python -m benchmarks tables
