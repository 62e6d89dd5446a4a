"""The record of a run."""
import copy
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch.utils.data import DataLoader

from tadfkd.algorithms import BaseDFKD
from tadfkd.datasets import StepDataset
from tadfkd.engine.hooks import SummaryHook
from tadfkd.evaluation import measure_synthetic


@pytest.fixture
def runner(tiny_model: BaseDFKD, tiny_config: Config,
           tmp_path: Path) -> SimpleNamespace:
    """What the hook asks a Runner for; without validation."""
    logged = []
    return SimpleNamespace(
        model=tiny_model,
        cfg=tiny_config,
        work_dir=str(tmp_path),
        seed=5,
        epoch=0,
        max_epochs=3,
        _resume=True,
        val_loop=None,
        train_dataloader=DataLoader(StepDataset(2)),
        _train_loop=True,
        hooks=[],
        param_schedulers=None,
        logger=logging.getLogger('test'),
        message_hub=MessageHub('test_summary_hook'),
        val_dataloader=None,
        logged=logged,
        visualizer=SimpleNamespace(
            add_scalars=lambda scalars, step: logged.append((scalars, step))))


def run_epoch(hook: SummaryHook,
              runner: SimpleNamespace,
              accuracy: float | None = None,
              generated: int = 40,
              selected: int = 10) -> None:
    """What happens to the hook in an epoch."""
    counters = runner.model.counters
    counters.images_generated += generated
    counters.images_selected += selected
    counters.steps['student'] += 4
    counters.steps['generator'] += 2
    hook.after_train_epoch(runner)
    if accuracy is not None:
        hook.after_val_epoch(runner, {'accuracy/top1': accuracy})
    runner.epoch += 1


def read(runner: SimpleNamespace, name: str) -> dict:
    """A file of the work directory."""
    return json.loads((Path(runner.work_dir) / name).read_text())


def test_the_summary_reports_the_last_epochs_and_labels_the_best(
        runner: SimpleNamespace) -> None:
    hook = SummaryHook(last_k=2, num_images=4)
    hook.before_train(runner)
    # The last epoch is not evaluated.
    for accuracy in (50.0, 70.0, 60.0, None):
        run_epoch(hook, runner, accuracy)
    hook.after_train(runner)
    summary = read(runner, 'summary.json')
    assert summary['student_top1_last'] == 60
    assert summary['student_top1_last_k_mean'] == 65
    assert summary['student_top1_std'] == 5
    assert summary['last_k'] == 2
    assert summary['student_top1_max'] == 70
    assert summary['student_steps'] == 16
    assert summary['generator_steps'] == 8
    assert summary['images_generated'] == 160
    assert summary['images_selected'] == 40
    assert summary['seed'] == 5
    assert summary['algorithm'] == 'TADFKD'
    # It was not used.
    assert summary['dataset'] is None
    assert summary['num_classes'] == 10
    assert summary['finished'] is True


def test_a_run_without_data_has_no_accuracy_and_still_a_summary(
        runner: SimpleNamespace) -> None:
    hook = SummaryHook(num_images=4)
    hook.before_train(runner)
    run_epoch(hook, runner)
    assert read(runner, 'summary.json')['finished'] is False
    hook.after_train(runner)
    summary = read(runner, 'summary.json')
    # A run may end before its last epoch.
    assert summary['finished'] is True
    for name in ('teacher_top1', 'student_top1_last', 'student_top1_max',
                 'student_top1_last_k_mean', 'student_top1_std'):
        assert summary[name] is None
    entry, = read(runner, 'history.json')['epochs']
    measured = measure_synthetic(runner.model, 4)
    assert summary['agreement_last'] == entry['agreement']
    assert entry['agreement'] == pytest.approx(measured.agreement)
    assert entry['bn_distance'] == pytest.approx(measured.bn_distance)
    assert entry['class_histogram'] == measured.class_histogram
    # The newest pairs of classes are kept, and not those of all epochs.
    assert hook.confusion == measured.confusion
    assert 'confusion' not in entry


def test_an_epoch_has_the_means_of_its_losses(runner: SimpleNamespace) -> None:
    hook = SummaryHook(num_images=4)
    hook.before_train(runner)
    # Of two epochs of two steps each.
    for value in (7.0, 9.0, 1.0, 2.0):
        runner.message_hub.update_scalar('train/student_logits', value)
        runner.message_hub.update_scalar('train/generator_bn', float('nan'))
        runner.message_hub.update_scalar('train/student.lr', 0.1)
    run_epoch(hook, runner)
    entry, = read(runner, 'history.json')['epochs']
    assert entry['losses'] == dict(student_logits=1.5)


def test_a_resumed_run_takes_up_the_history_of_its_checkpoint(
        runner: SimpleNamespace) -> None:
    hook = SummaryHook(num_images=4)
    hook.before_train(runner)
    run_epoch(hook, runner, 50.0)
    # Within the second epoch, of which these are the first images.
    runner.model.counters.images_generated += 30
    runner.model.counters.images_selected += 20
    checkpoint: dict = {}
    hook.before_save_checkpoint(runner, checkpoint)
    checkpoint = copy.deepcopy(checkpoint)
    seconds = checkpoint['summary']['history']['seconds']
    run_epoch(hook, runner, 70.0, generated=10, selected=0)
    expected = read(runner, 'history.json')

    # Elsewhere: the files of the first run are not read.
    runner.work_dir = str(Path(runner.work_dir) / 'elsewhere')
    runner.model.counters.images_generated -= 10
    runner.epoch = 1
    resumed = SummaryHook(num_images=4)
    resumed.after_load_checkpoint(runner, checkpoint)
    resumed.before_train(runner)
    run_epoch(resumed, runner, 70.0, generated=10, selected=0)
    history = read(runner, 'history.json')
    assert history['epochs'] == expected['epochs']
    assert history['epochs'][1]['selection_rate'] == 50
    assert history['seconds'] > seconds
