#!/bin/sh
# Kills a run 100 times and compares its end with an undisturbed run.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/resnet18w16_digits.py --seed 0
python -m benchmarks crashes configs/tadfkd/resnet18w16_to_resnet18w8_digits.py --kills 100 --record docs/measured/crashes/record.json --teacher-checkpoint work_dirs/teachers/resnet18w16_digits/epoch_30.pth --cfg-options model.batch_size=16 model.num_student_steps=2 train_cfg.max_epochs=3 train_dataloader.dataset.num_steps=4 default_hooks.logger.interval=1 default_hooks.samples.num_images=16 default_hooks.summary.num_images=16
