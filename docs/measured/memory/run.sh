#!/bin/sh
# Peak memory of 5000 iterations of very narrow networks.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python -m benchmarks memory configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --iterations 5000 --warmup 0 --threads 1 --cfg-options model.batch_size=4 model.num_student_steps=1 model.generator.latent_size=16 model.generator.width=4 model.teacher.model.backbone.base_channels=4 model.teacher.model.backbone.stem_channels=4 model.teacher.model.head.in_channels=32 model.student.backbone.base_channels=4 model.student.backbone.stem_channels=4 model.student.head.in_channels=32 --record docs/measured/memory/record.json
python -m benchmarks tables
