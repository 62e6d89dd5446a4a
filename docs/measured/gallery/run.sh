#!/bin/sh
# Distils the digits three times, and makes a picture of each report with
# Chromium: a healthy run, a collapsed one, and one with a ViT as teacher.
# The two teachers come from `tadfkd demo`, seed 0. The reports are in
# work_dirs/gallery. Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
resnet=${RESNET:-work_dirs/demo/teacher/epoch_30.pth}
vit=${VIT:-work_dirs/demo/vit/teacher/epoch_100.pth}
out=${OUT:-work_dirs/gallery}
paper=configs/tadfkd/resnet18w16_to_resnet18w8_digits.py

tadfkd train $paper --teacher-checkpoint "$resnet" --work-dir "$out/healthy" \
    --cfg-options train_cfg.max_epochs=6
tadfkd train $paper --teacher configs/teachers/vitw64_digits.py \
    --teacher-checkpoint "$vit" --work-dir "$out/collapsed" \
    --cfg-options train_cfg.max_epochs=5 model.batch_size=64 \
    model.num_student_steps=2
tadfkd train configs/agnostic/vitw64_to_resnet18w8_digits.py \
    --teacher-checkpoint "$vit" --work-dir "$out/vit" \
    --cfg-options train_cfg.max_epochs=5 model.batch_size=64
python docs/measured/gallery/pictures.py "$out"
