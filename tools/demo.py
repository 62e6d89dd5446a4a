"""From nothing to students of real digits, trained without data.

Distils twice: by TA-DFKD, the paper's method, from a ResNet-18, and by
AgnosticDFKD from a ViT, with which the paper's settings fail. Trains each
teacher first, or reuses that of an earlier call. Prints the accuracy of all on
held-out real digits.
"""
import argparse
from pathlib import Path
from typing import Any

from tadfkd.apis import distill, load_config, train
from tadfkd.apis.command_line import run_tool

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
#: The teacher's config, the student's config, and the folder of the run.
RUNS = ((CONFIGS / 'teachers' / 'resnet18w16_digits.py',
         CONFIGS / 'tadfkd' / 'resnet18w16_to_resnet18w8_digits.py', '.'),
        (CONFIGS / 'teachers' / 'vitw64_digits.py',
         CONFIGS / 'agnostic' / 'vitw64_to_resnet18w8_digits.py', 'vit'))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0, help='seed of the run')
    parser.add_argument(
        '--work-dir', default='work_dirs/demo', help='folder of all results')
    return parser.parse_args()


def teacher_checkpoint(recipe: Path, work_dir: Path, seed: int) -> Path:
    """The checkpoint of the teacher, which is trained if there is none."""
    config = load_config(recipe, work_dir=str(work_dir), seed=seed)
    checkpoint = work_dir / f'epoch_{config.train_cfg.max_epochs}.pth'
    if not checkpoint.is_file():
        train(config)
    return checkpoint


def page(summary: dict[str, Any], work_dir: Path) -> str:
    """What a run has reached."""
    rows = [
        ('teacher, real training digits', summary['teacher_top1']),
        ('student, no data: last epoch', summary['student_top1_last']),
        (f'student, mean of last {summary["last_k"]} epochs',
         summary['student_top1_last_k_mean']),
        ('student, best epoch (extra)', summary['student_top1_max']),
    ]
    return '\n'.join([
        f'{summary["algorithm"]}, {Path(summary["config"]).stem}:',
        *(f'  {name:<36}{top1:6.2f}' for name, top1 in rows),
        f'  {summary["student_steps"]} student steps in '
        f'{summary["wall_seconds"]:.0f} s; see {work_dir}/samples.png, '
        'curves.png and summary.json'
    ])


def main() -> None:
    """Train, distil, print."""
    arguments = parse_arguments()
    pages = []
    for recipe, config, folder in RUNS:
        work_dir = Path(arguments.work_dir, folder)
        checkpoint = teacher_checkpoint(recipe, work_dir / 'teacher',
                                        arguments.seed)
        summary = distill(
            config,
            work_dir=str(work_dir),
            seed=arguments.seed,
            teacher_checkpoint=str(checkpoint))
        pages.append(page(summary, work_dir))
    print('\nTop-1 accuracy on 599 held-out real digits, percent, '
          f'seed {arguments.seed}')
    print('\n\n'.join(pages))


if __name__ == '__main__':
    run_tool(main)
