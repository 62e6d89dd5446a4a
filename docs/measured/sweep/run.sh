#!/bin/sh
# Kills a sweep of 2 teachers x 2 configs x 2 seeds and calls it again: see
# kill.py. It needs the two teachers of configs/teachers. Run it from the root of
# the repository; it takes minutes and writes record.json.
set -e
export OMP_NUM_THREADS=1 PYTHONPATH="$PWD:$PYTHONPATH"
"${PYTHON:-python}" docs/measured/sweep/kill.py docs/measured/sweep/record.json
