#!/bin/sh
# Trains the demo, exports its student in all formats, reads each file in a
# process in which tadfkd cannot be imported, and writes record.json. Run it
# from the root of the repository.
set -e
export OMP_NUM_THREADS=1
[ -d work_dirs/demo ] || python -m tadfkd.cli demo
PYTHONPATH=. python -W ignore docs/measured/shipping/measure.py work_dirs/demo
