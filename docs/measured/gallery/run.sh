#!/bin/sh
# Trains two teachers on the digits, distils them in three short runs, and makes
# a picture of each report with Chromium: a healthy run, a collapsed one, and one
# with a ViT as teacher. The reports are in work_dirs/gallery.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
paper=configs/tadfkd/resnet18w16_to_resnet18w8_digits.py
vit=work_dirs/teachers/vitw64_digits/epoch_100.pth
out=work_dirs/gallery

tadfkd train configs/teachers/resnet18w16_digits.py --seed 0
tadfkd train configs/teachers/vitw64_digits.py --seed 0
tadfkd train $paper --work-dir $out/healthy --cfg-options train_cfg.max_epochs=6
tadfkd train $paper --work-dir $out/collapsed \
    --teacher configs/teachers/vitw64_digits.py --teacher-checkpoint $vit \
    --cfg-options train_cfg.max_epochs=5 model.batch_size=64 \
    model.num_student_steps=2
tadfkd train configs/agnostic/vitw64_to_resnet18w8_digits.py \
    --work-dir $out/vit --teacher-checkpoint $vit \
    --cfg-options train_cfg.max_epochs=5 model.batch_size=64
PYTHONPATH=. python docs/measured/gallery/pictures.py $out
