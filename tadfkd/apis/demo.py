"""From nothing to students of real digits, trained without data."""
from pathlib import Path
from typing import Any

from tadfkd.apis.config import load_config
from tadfkd.apis.runs import distill, train
from tadfkd.errors import UserError
from tadfkd.evaluation import result_page

#: The teacher's config, the student's config, and the folder of the run.
RUNS = (('tadfkd::teachers/resnet18w16_digits.py',
         'tadfkd::tadfkd/resnet18w16_to_resnet18w8_digits.py', '.'),
        ('tadfkd::teachers/vitw64_digits.py',
         'tadfkd::agnostic/vitw64_to_resnet18w8_digits.py', 'vit'))


def run_demo(work_dir: Path,
             seed: int = 0,
             steps: int | None = None,
             fast: bool = False) -> str:
    """Distil two teachers of real digits, which are trained first.

    A teacher that an earlier call has trained is used again.

    Args:
        work_dir: Folder of all results.
        seed: Of teachers and students.
        steps: Iterations of each student's run, >= 1, after a teacher of one
            epoch. None takes the numbers of the configs.
        fast: See :func:`~tadfkd.apis.load_config`.

    Returns:
        The accuracies on held-out real digits, as a page.

    Raises:
        UserError: For a number that is not allowed, or if scikit-learn, which
            has the digits, is missing.
    """
    if steps is not None and steps < 1:
        raise UserError(f'--steps must be at least 1, got {steps}: give '
                        'another number, or leave --steps out')
    pages = [
        'Top-1 accuracy on 599 held-out real digits, percent, '
        f'seed {seed}'
    ]
    for recipe, config, name in RUNS:
        folder = work_dir / name
        run = distill(
            config,
            options={} if steps is None else _few_steps(config, steps),
            work_dir=str(folder),
            seed=seed,
            fast=fast,
            teacher_checkpoint=str(
                _teacher(recipe, folder / 'teacher', seed, steps is not None)))
        pages.append(result_page(run.summary, folder))
    return '\n'.join([pages[0], '\n\n'.join(pages[1:])])


def _teacher(recipe: str, work_dir: Path, seed: int, is_short: bool) -> Path:
    """The checkpoint of the teacher, which is trained if there is none."""
    config = load_config(
        recipe, {'train_cfg.max_epochs': 1} if is_short else None,
        work_dir=str(work_dir),
        seed=seed)
    checkpoint = work_dir / f'epoch_{config.train_cfg.max_epochs}.pth'
    if not checkpoint.is_file():
        train(config)
    return checkpoint


def _few_steps(config: str, steps: int) -> dict[str, Any]:
    """Options for a short run, with a teacher that knows little."""
    options: dict[str, Any] = {
        'train_cfg.max_epochs': 1,
        'train_dataloader.dataset.num_steps': steps,
        'default_hooks.teacher_sanity.min_top1': 0
    }
    if '::agnostic/' in config:
        options |= {
            'model.num_generator_steps': 1,
            'model.num_student_steps': 1,
            'model.num_first_syntheses': 1,
            'model.procedural.size': 512,
            'model.procedural.num_candidates': 512
        }
    return options
