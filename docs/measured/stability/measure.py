"""How stable are a teacher's answers, and does its student learn them?

Each teacher sees real test digits and four families of procedural images,
plain and by the views of AgnosticDFKD's setting. Where a run of the benchmark
over teachers has left its files, its student answers the plain images too.
Usage, from the root of the repository: python measure.py [TEACHER ...]
"""
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.comparison import Run
from benchmarks.records import write_record
from benchmarks.teachers import KINDS, METHODS, TEACHERS, UNSEEN
from tadfkd.algorithms.building import build_procedural
from tadfkd.apis.config import load_config
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.checkpoints.resume_point import newest_intact
from tadfkd.datasets import Digits
from tadfkd.networks.freezing import frozen
from tadfkd.registry import MODELS

HERE = Path(__file__).resolve().parent
RUNS = Path('work_dirs/teachers_benchmark')
FAMILIES = ('SpectralFields', 'Blobs', 'Strokes', 'DeadLeaves')
SIZE = 1024


def share(mask_B: Tensor) -> float:
    return round(100 * mask_B.float().mean().item(), 1)


@torch.no_grad()
def measure(teacher: str) -> dict[str, float]:
    config, options = METHODS['AgnosticDFKD']
    runs = [
        Run(config, seed, options, TEACHERS[teacher], 'AgnosticDFKD')
        for seed in range(3)
    ]
    content = load_config(config, options, teacher=TEACHERS[teacher])
    model = MODELS.build(content.model)
    found = [(run.seed, newest_intact(RUNS / run.folder)[0]) for run in runs
             if (RUNS / run.folder).is_dir()]
    trained = next(((seed, path) for seed, path in found if path), None)
    if trained:
        model.load_state_dict(read_checkpoint(trained[1])['state_dict'])
    view = MODELS.build(content.model.augment)
    stream = torch.Generator().manual_seed(0)

    def classes(answer, images_BCHW: Tensor) -> Tensor:
        return torch.cat(
            [answer(chunk).argmax(1) for chunk in images_BCHW.split(256)])

    digits = Digits('test', 16).load_data_list()
    images_BCHW = torch.from_numpy(np.stack([item['img'] for item in digits
                                             ])).permute(0, 3, 1, 2) / 255
    labels_B = torch.tensor([item['gt_label'] for item in digits])
    row: dict = dict(
        real=share(classes(model.teacher_logits, images_BCHW) == labels_B),
        real_views=share(
            classes(model.teacher_logits, view(images_BCHW, stream)) ==
            labels_B))
    for family in FAMILIES:
        procedural = build_procedural(
            dict(
                families=[dict(type=family)],
                size=SIZE,
                num_candidates=4 * SIZE), model.generator, model.teacher)
        procedural.make(model.teacher, stream)
        images_BCHW = procedural.sample(SIZE, stream)
        plain_B = classes(model.teacher_logits, images_BCHW)
        row[f'{family} stable'] = share(
            classes(model.teacher_logits, view(images_BCHW, stream)) ==
            plain_B)
        if trained:
            with frozen(model.student):
                row[f'{family} student agrees'] = share(
                    classes(model.student_logits, images_BCHW) == plain_B)
    if trained:
        row['seed of the student'] = trained[0]
    return row


if __name__ == '__main__':
    torch.set_num_threads(1)
    rows = {}
    for name in sys.argv[1:] or [*KINDS, *UNSEEN]:
        rows[name] = measure(name)
        print(name, rows[name], flush=True)
    if not sys.argv[1:]:
        write_record(
            HERE / 'record.json',
            dict(
                command='sh docs/measured/stability/run.sh',
                teachers=rows))
