"""A student on procedural images alone: what do rate, views and choice change?

    python docs/measured/agnostic_tuning/student_alone.py mobilenetv2w25 \
        --seeds 0 1 2 --rate 0.2 --warm_up 0.05 --clip 5

It trains as AgnosticDFKD does with ``procedural.share=1``, but all seeds of a
teacher share their procedural images, which saves a third of the time.
`student_alone.txt` has what an earlier form of this script printed, which kept
the images of a teacher in a file. This form has run for 20 steps only.
"""
import argparse
import copy
import math

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.nn.functional import kl_div

from tadfkd.apis import load_config
from tadfkd.networks.capture import has_running_statistics
from tadfkd.registry import MODELS

STEPS, BATCH = 750, 128


def real_images(model, loader, **dataset):
    """All images_BCHW and labels_B of a loader's data set."""
    loader = dict(loader, dataset=dict(loader['dataset'], **dataset))
    batches = [
        model.data_preprocessor(data)
        for data in Runner.build_dataloader(loader, seed=0)
    ]
    return (torch.cat([data['inputs'] for data in batches]),
            torch.cat([
                sample.gt_label for data in batches
                for sample in data['data_samples']
            ]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('teacher')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    for name, default in dict(
            candidates=131072,
            size=8192,
            rate=0.1,
            warm_up=0.0,
            clip=math.inf,
            shift=0.125,
            scale=0.15,
            mixed=0.0,
            steps=STEPS).items():
        parser.add_argument(
            f'--{name}', type=type(default), default=default)
    parser.add_argument('--real', action='store_true')
    asked = parser.parse_args()
    torch.set_num_threads(1)
    init_default_scope('tadfkd')
    config = load_config(
        f'configs/agnostic/{asked.teacher}_to_resnet18w8_digits.py', {
            'model.procedural.size': asked.size,
            'model.procedural.num_candidates': asked.candidates,
            'model.augment.shift': asked.shift,
            'model.augment.scale': asked.scale
        })
    model = MODELS.build(config.model)
    model.procedural.make(model.teacher, torch.Generator().manual_seed(5))
    scale = model.procedural.logit_deviation
    test_BCHW, labels_B = real_images(model, config.test_dataloader)
    train_BCHW, _ = real_images(
        model, config.test_dataloader, split='train')
    with torch.no_grad():
        teacher_B = model.teacher_logits(test_BCHW).argmax(1)
    for seed in asked.seeds:
        student = copy.deepcopy(model.student)
        torch.manual_seed(seed + 100)
        student.init_weights()
        average = train(model, student, scale, asked,
                        train_BCHW if asked.real else None,
                        torch.Generator().manual_seed(seed))
        with torch.no_grad():
            found_B = model._classified(average, test_BCHW).argmax(1)
        right = (found_B == labels_B).sum() / (teacher_B == labels_B).sum()
        print(
            asked.teacher,
            {
                name: value
                for name, value in vars(asked).items()
                if value != parser.get_default(name)
                and name not in ('teacher', 'seeds')
            },
            f'seed {seed}: share of the teacher {100 * right:.1f}, '
            f'agreement {100 * (found_B == teacher_B).float().mean():.1f}',
            flush=True)


def train(model, student, scale, asked, real_BCHW, stream):
    """The moving average of a new student after the steps."""
    average = copy.deepcopy(student).eval()
    optimizer = torch.optim.SGD(
        student.parameters(), asked.rate, momentum=0.9, weight_decay=5e-4)
    for step in range(asked.steps):
        progress = step / asked.steps
        student.train()
        if progress >= 0.9:
            for module in student.modules():
                if has_running_statistics(module):
                    module.eval()
        rise = min(1, (step + 1) / max(1, asked.warm_up * asked.steps))
        for group in optimizer.param_groups:
            group['lr'] = asked.rate * rise * (
                1 + math.cos(math.pi * progress)) / 2
        if real_BCHW is None:
            images_BCHW = model.procedural.sample(BATCH, stream)
        else:
            images_BCHW = real_BCHW[torch.randint(
                len(real_BCHW), (BATCH, ), generator=stream)]
        images_BCHW = model.augment(images_BCHW, stream)
        count = round(asked.mixed * BATCH)
        share_M111 = torch.rand(count, 1, 1, 1, generator=stream)
        others_M = torch.randperm(BATCH, generator=stream)[:count]
        images_BCHW[:count] = (
            share_M111 * images_BCHW[:count] +
            (1 - share_M111) * images_BCHW[others_M])
        with torch.no_grad():
            teacher_BK = model.teacher_logits(images_BCHW)
        teacher_BK = teacher_BK - teacher_BK.mean(1, keepdim=True)
        student_BK = scale * model._classified(student, images_BCHW)
        divergence = kl_div((student_BK / 4).log_softmax(1),
                            (teacher_BK / 4).log_softmax(1),
                            reduction='batchmean',
                            log_target=True)
        loss = ((student_BK - teacher_BK).abs().mean() +
                16 * divergence) / scale
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), asked.clip)
        optimizer.step()
        weight = 1 / max(1, min(step + 1, 0.07 * asked.steps))
        with torch.no_grad():
            for old, new in zip(average.state_dict().values(),
                                student.state_dict().values()):
                if old.is_floating_point():
                    old.lerp_(new, weight)
                else:
                    old.copy_(new)
    return average


if __name__ == '__main__':
    main()
