#!/bin/sh
# Times what a command does before its work begins, at commit f3954aa and now,
# and adds both to record.json. Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
record=docs/measured/start/record.json

old=$(mktemp -d)
git worktree add --detach "$old" f3954aa
python -m benchmarks start --checkout "$old" --name f3954aa \
    --record $record
git worktree remove --force "$old"

python -m benchmarks start --name now --record $record
python -m benchmarks tables
