#!/bin/sh
# How far two processes differ from one process with twice the batch, in
# float32 and float64, with two sets of instructions. Run it from the root of
# the repository, on a quiet machine for about five minutes; it writes
# record.json beside this file.
set -e
folder=docs/measured/two_processes_float64
python=${PYTHON:-python}
export OMP_NUM_THREADS=1
lines=$(mktemp)
for dtype in float64 float32; do
    $python -W ignore $folder/measure.py $dtype 2>/dev/null | tail -n 1 \
        >>"$lines"
    ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
        $python -W ignore $folder/measure.py $dtype 2>/dev/null | tail -n 1 \
        >>"$lines"
done
$python - "$lines" $folder/record.json <<'END'
import json, platform, subprocess, sys
from pathlib import Path

import torch

cpu = dict(
    line.split(':', 1) for line in Path('/proc/cpuinfo').read_text().split(
        '\n\n')[0].splitlines())
cpu = {key.strip(): value.strip() for key, value in cpu.items()}
record = dict(
    command='sh docs/measured/two_processes_float64/run.sh',
    commit=subprocess.check_output(['git', 'rev-parse', 'HEAD'],
                                   text=True).strip(),
    seed=0,
    processor=cpu['model name'],
    flags=' '.join(flag for flag in cpu['flags'].split()
                   if flag.startswith(('sse', 'avx', 'fma', 'amx', 'f16c'))),
    python=platform.python_version(),
    torch=torch.__version__,
    runs=[json.loads(line)
          for line in Path(sys.argv[1]).read_text().splitlines()])
Path(sys.argv[2]).write_text(json.dumps(record, indent=1) + '\n')
END
rm "$lines"
