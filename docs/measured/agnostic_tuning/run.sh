#!/bin/sh
# The settings of AgnosticDFKD that were tried, on the four teachers that it is
# tuned on. About two hours on two cores.
# The settings with mixup ran with RandomMixup (probability 0.5) after the other
# views; commit 6afe048 has it. It is gone, because it did not help.
# A run that is not in record.json was stopped, so that another could begin.
# Each entry of record.json names its commit; -dirty is for changes that the
# next commit has. Later commits do not give the same figures, for the reasons
# that are named below.
# Run it from the root of the repository.
set -e
export OMP_NUM_THREADS=1
for teacher in resnet18w16 mobilenetv2w25 vitw64 mixerw64; do
    python tools/train.py configs/teachers/${teacher}_digits.py --seed 0
done
# run SETTING SEEDS OPTIONS...
run() {
    setting=$1 seeds=$2
    shift 2
    python -m benchmarks compare --seeds $seeds --jobs 2 \
        --setting "$setting" \
        --record docs/measured/agnostic_tuning/record.json \
        configs/agnostic/vitw64_to_resnet18w8_digits.py \
        configs/agnostic/mixerw64_to_resnet18w8_digits.py \
        configs/agnostic/mobilenetv2w25_to_resnet18w8_digits.py \
        configs/agnostic/resnet18w16_to_resnet18w8_digits.py \
        --cfg-options "$@"
}
label=model.generator.label_scale
further=model.num_further_images
sgd=optim_wrapper.student.optimizer
share=model.procedural.share
first=model.num_first_syntheses
# Until commit 225476c a quarter of a batch is procedural, 2048 images of 8192, of
# each class the first ones, and half of the rest is from the newest syntheses.
run 'images of the synthesis alone' 0 $label=1.0 $further=0 model.pool.capacity=4096
run '500 further images' 0 $label=1.0 $further=500
run '500 further images, labels 0.6' 0 $label=0.6 $further=500
run '500 further images, labels 0.6, rate 0.2' 0 $label=0.6 $further=500 $sgd.lr=0.2 $sgd.nesterov=True
# From here on all images of the pool are balanced over classes.
run 'half procedural' 0 $share=0.5 $first=1 model.procedural.alone=0.05
run 'half procedural, new generator every 3, 30 steps' 0 $share=0.5 $first=1 \
    model.procedural.alone=0.05 model.reset_interval=3 model.num_generator_steps=30
run 'half procedural, 10 first syntheses' 0 $share=0.5 $first=10 \
    model.procedural.alone=0.0
# From here on P has the 8192 of 131072 candidates that the teacher is surest of.
run 'half procedural, the surest of 131072, 10 first syntheses' 0 $share=0.5 $first=10
run 'procedural images alone, the surest of 131072' 0 $share=1.0
# Until here model.student.backbone.zero_init_residual was True.
run 'three quarters procedural, 5 first syntheses' 0 $share=0.75
# From here on the rate is 0.2, with a warm-up and clipped gradients.
run 'three quarters procedural, 5 first syntheses, rate 0.2' '0 1 2' $share=0.75 \
    model.procedural.num_candidates=131072 model.augment.shift=0.125 \
    model.augment.scale=0.15 model.channels_last=True
run 'procedural images alone, the surest of 65536, rate 0.2, narrower views' 0 $share=1.0 \
    model.procedural.num_candidates=65536 model.augment.shift=0.0625 model.augment.scale=0.08
# From here on without channels_last, which changes rounding only. The runs without
# narrower views are in ../robustness/record.json.
run 'three quarters procedural, 5 first syntheses, rate 0.2, narrower views' '0 1 2' \
    model.augment.shift=0.0625 model.augment.scale=0.08
run 'three quarters procedural, 5 first syntheses, rate 0.2, narrower views, 60 images per synthesis' \
    0 model.augment.shift=0.0625 model.augment.scale=0.08 model.synthesis_batch_size=60
run 'procedural images alone, the surest of 131072, rate 0.2, narrower views' '0 1 2' \
    $share=1.0 model.augment.shift=0.0625 model.augment.scale=0.08
# What student_alone.txt has, for example:
python docs/measured/agnostic_tuning/student_alone.py mobilenetv2w25 --seeds 0 1 2 \
    --rate 0.2 --warm_up 0.05 --clip 5 --shift 0.0625 --scale 0.08
python -m benchmarks tables
