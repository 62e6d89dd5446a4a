"""From nothing to a student of real digits, trained without data.

Trains the digits teacher, or reuses the teacher of an earlier call. Distils a
smaller student from the teacher with TA-DFKD. Prints the accuracy of both on
held-out real digits.
"""
import argparse
from pathlib import Path

from tadfkd.apis import distill, load_config, train
from tadfkd.apis.command_line import run_tool

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
TEACHER = CONFIGS / 'teachers' / 'resnet18w16_digits.py'
STUDENT = CONFIGS / 'tadfkd' / 'resnet18w16_to_resnet18w8_digits.py'


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seed', type=int, default=0, help='seed of the run')
    parser.add_argument(
        '--work-dir', default='work_dirs/demo', help='folder of all results')
    return parser.parse_args()


def teacher_checkpoint(work_dir: Path, seed: int) -> Path:
    """The checkpoint of the teacher, which is trained if there is none."""
    config = load_config(TEACHER, work_dir=str(work_dir), seed=seed)
    checkpoint = work_dir / f'epoch_{config.train_cfg.max_epochs}.pth'
    if not checkpoint.is_file():
        train(config)
    return checkpoint


def main() -> None:
    """Train, distil, print."""
    arguments = parse_arguments()
    work_dir = Path(arguments.work_dir)
    checkpoint = teacher_checkpoint(work_dir / 'teacher', arguments.seed)
    summary = distill(
        STUDENT,
        work_dir=str(work_dir),
        seed=arguments.seed,
        teacher_checkpoint=str(checkpoint))
    rows = [
        ('teacher, real training digits', summary['teacher_top1']),
        ('student, no data: last epoch', summary['student_top1_last']),
        (f'student, mean of last {summary["last_k"]} epochs',
         summary['student_top1_last_k_mean']),
        ('student, best epoch (extra)', summary['student_top1_max']),
    ]
    print(f'\nTop-1 accuracy on 599 held-out real digits, percent, '
          f'seed {summary["seed"]}:')
    for name, top1 in rows:
        print(f'  {name:<36}{top1:6.2f}')
    print(f'{summary["student_steps"]} student steps on '
          f'{summary["images_selected"]} of {summary["images_generated"]} '
          f'generated images in {summary["wall_seconds"]:.0f} s.')
    print(f'See {work_dir}/samples.png, {work_dir}/curves.png and '
          f'{work_dir}/summary.json.')


if __name__ == '__main__':
    run_tool(main)
