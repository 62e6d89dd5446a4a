#!/bin/sh
# Distils teachers of nine kinds.
# The figures of record.json are those of summary.json of each run. The run
# of vgg11 with default terms was stopped by hand after three epochs.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
python tools/train.py configs/teachers/convnextw16_digits.py --seed 0
python tools/train.py configs/teachers/densenetw8_digits.py --seed 0
python tools/train.py configs/teachers/mixerw64_digits.py --seed 0
python tools/train.py configs/teachers/mobilenetv2w25_digits.py --seed 0
python tools/train.py configs/teachers/poolformerw32_digits.py --seed 0
python tools/train.py configs/teachers/resnet18w16_digits.py --seed 0
python tools/train.py configs/teachers/vgg11_digits.py --seed 0
python tools/train.py configs/teachers/vgg11bn_digits.py --seed 0
python tools/train.py configs/teachers/vitw64_digits.py --seed 0
make demo SEED=0
python tools/train.py configs/tadfkd/vitw64_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/vitw64_to_resnet18w8_digits.py --seed 0 --cfg-options model.image_losses.l2.loss_weight=0 model.image_losses.tv.loss_weight=0
python tools/train.py configs/tadfkd/vitw64_to_resnet18w8_digits.py --seed 0 --cfg-options model.image_losses.l2.loss_weight=0 model.image_losses.tv.loss_weight=0 model.generator.head=tanh_batch_norm
python tools/train.py configs/tadfkd/vitw64_to_resnet18w8_digits_pixels.py --seed 0
python tools/train.py configs/tadfkd/mixerw64_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/poolformerw32_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/mixerw64_to_resnet18w8_digits_pixels.py --seed 0
python tools/train.py configs/tadfkd/convnextw16_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/vgg11_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/mobilenetv2w25_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/densenetw8_to_resnet18w8_digits.py --seed 0
python tools/train.py configs/tadfkd/convnextw16_to_resnet18w8_digits_pixels.py --seed 0
python tools/train.py configs/tadfkd/poolformerw32_to_resnet18w8_digits_pixels.py --seed 0
python tools/train.py configs/tadfkd/vgg11_to_resnet18w8_digits_pixels.py --seed 0
python tools/train.py configs/tadfkd/vgg11bn_to_resnet18w8_digits.py --seed 0
# Settings that --cfg-options cannot express.
python - <<'END'
from tadfkd.apis import distill
LEAF = 'configs/tadfkd/vitw64_to_resnet18w8_digits.py'
L2, TV = ('model.image_losses.l2.loss_weight',
          'model.image_losses.tv.loss_weight')
distill(
    LEAF,
    options={
        L2: 0.0,
        TV: 0.0,
        'param_scheduler.generator':
        [dict(type='CosineAnnealingLR', by_epoch=True)]
    },
    seed=0,
    work_dir='work_dirs/vitw64_cosine')
distill(
    LEAF,
    options={
        L2: 0.0,
        TV: 5e-3,
        'model.image_losses.pixels':
        dict(type='PixelStatisticsLoss', loss_weight=1.0)
    },
    seed=0,
    work_dir='work_dirs/vitw64_tv')
END
