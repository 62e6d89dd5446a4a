#!/bin/sh
# Distils with and without the options that make training faster.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_fashion_mnist.py --seed 0
folder=$(mktemp -d)
python -m benchmarks compare configs/tadfkd/resnet18w16_to_resnet18w8_fashion_mnist.py \
    --seeds 0 1 2 --jobs 2 --record "$folder/plain.json"
python -m benchmarks compare configs/tadfkd/resnet18w16_to_resnet18w8_fashion_mnist.py \
    --seeds 0 1 2 --jobs 2 --record "$folder/channels_last_folded.json" \
    --cfg-options model.channels_last=True
python - "$folder" <<'END'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
record = {
    name: json.loads((folder / f'{name}.json').read_text())
    for name in ('plain', 'channels_last_folded')
}
pathlib.Path('docs/measured/fast_path_fashion_mnist/record.json').write_text(
    json.dumps(record, indent=2) + '\n')
END
python -m benchmarks tables
