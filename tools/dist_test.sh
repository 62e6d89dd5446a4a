#!/usr/bin/env bash
# Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# On a machine without GPUs, GPUS is the number of CPU processes.
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail

ARGUMENTS=("$1" "$2")
GPUS=$3
shift 3
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$(dirname "$0")/test.py" "${ARGUMENTS[@]}" --launcher pytorch "$@"
