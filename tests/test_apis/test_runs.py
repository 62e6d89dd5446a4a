"""Distilling, training and testing, from config to files."""
import csv
import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import mmpretrain
import numpy as np
import pytest
import torch
from algorithm_helpers import DIGITS, config_folder, shrinking_options
from mmengine.config import Config
from mmpretrain.utils import load_json_log
from torch import Tensor

from tadfkd.apis import Run as FinishedRun
from tadfkd.apis import distill, load_config
from tadfkd.apis import test as evaluate
from tadfkd.apis import train
from tadfkd.apis.runner import build_optimizers
from tadfkd.apis.runs import prepare
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.classifiers.build import build_classifier
from tadfkd.datasets import CIFAR100, Digits
from tadfkd.errors import UserError
from tadfkd.registry import MODELS

SUPERVISED = Path(__file__).resolve().parents[2] / 'configs' / 'teachers' / \
    'resnet18w16_digits.py'


@dataclass
class Run:
    """A finished run: its options, summary and files."""

    options: dict[str, Any]
    summary: dict[str, Any]
    work_dir: Path

    def weights(self, epoch: int) -> dict[str, Tensor]:
        """The weights of a checkpoint."""
        return read_checkpoint(self.work_dir /
                               f'epoch_{epoch}.pth')['state_dict']


@pytest.fixture
def run(finished_run: FinishedRun, tiny_options: dict[str, Any]) -> Run:
    """A run with ``tiny_options``."""
    return Run(tiny_options, finished_run.summary, finished_run.work_dir)


def assert_equal_weights(found: dict[str, Tensor],
                         expected: dict[str, Tensor]) -> None:
    """Compare all weights bit for bit."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def accuracy_by_hand(network: torch.nn.Module) -> float:
    """Percent of the test digits that a bare classifier gets right."""
    dataset = Digits('test')
    pixels_BHWC = np.stack([dataset[i]['img'] for i in range(599)])
    labels_B = np.array([dataset[i]['gt_label'] for i in range(599)])
    inputs_BHWC = (pixels_BHWC.astype(np.float32) - 77.7) / 81.2
    with torch.no_grad():
        logits_BK = network.eval()(
            torch.from_numpy(inputs_BHWC.transpose(0, 3, 1, 2)), mode='tensor')
    return 100 * np.mean(logits_BK.numpy().argmax(1) == labels_B)


def test_the_summary_counts_what_the_config_asks_for(run: Run) -> None:
    # Two epochs of two iterations, each of two student and one generator
    # steps.
    assert run.summary['student_steps'] == 8
    assert run.summary['generator_steps'] == 4
    # Each step needs at least its own eight images.
    generated = run.summary['images_generated']
    assert generated >= 8 * (8 + 4)
    assert 8 * 8 <= run.summary['images_selected'] <= generated
    assert run.summary['finished'] is True
    assert run.summary['dataset'] == 'digits'
    assert run.summary['wall_seconds'] > 0
    assert run.summary == json.loads(
        (run.work_dir / 'summary.json').read_text())


def test_the_reported_accuracies_are_those_of_the_saved_networks(
        run: Run, digits_config: str, tiny_teacher_checkpoint: str) -> None:
    model = load_config(digits_config, run.options).model
    teacher = build_classifier(model.teacher.model.to_dict())
    teacher.load_state_dict(read_checkpoint(tiny_teacher_checkpoint))
    assert run.summary['teacher_top1'] == pytest.approx(
        accuracy_by_hand(teacher), abs=0.2)

    accuracies = []
    for epoch in (1, 2):
        student = build_classifier(model.student.to_dict())
        student.load_state_dict({
            name.removeprefix('student.'): value
            for name, value in run.weights(epoch).items()
            if name.startswith('student.')
        })
        accuracies.append(accuracy_by_hand(student))
    history = json.loads((run.work_dir / 'history.json').read_text())
    assert [entry['student_top1']
            for entry in history['epochs']] == pytest.approx(
                accuracies, abs=0.2)
    assert run.summary['student_top1_last'] == pytest.approx(
        accuracies[1], abs=0.2)
    assert run.summary['student_top1_max'] == pytest.approx(
        max(accuracies), abs=0.2)


def test_a_run_ends_with_its_result_and_the_next_command(run: Run) -> None:
    log, = run.work_dir.glob('*/*.log')
    page = log.read_text().rpartition(' - INFO - ')[2]
    assert page.startswith('TADFKD, resnet18w16_to_resnet18w8_digits:\n')
    for name in ('teacher_top1', 'student_top1_last', 'student_top1_max'):
        assert f' {run.summary[name]:6.2f}\n' in page
    assert f'{run.work_dir}/report.html' in page
    assert page.endswith(f'tadfkd export {run.work_dir} --format onnx\n')


def test_a_config_of_the_new_style_trains_the_same(run: Run,
                                                   tiny_config: Config,
                                                   tmp_path: Path) -> None:
    base, leaf = tmp_path / 'base.py', tmp_path / 'leaf.py'
    base.write_text(tiny_config.pretty_text)
    leaf.write_text("""
from mmengine.config import read_base

with read_base():
    from .base import *

from mmengine.optim import OptimWrapper
from mmpretrain.datasets import PackInputs
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import ImageClassifier, LinearClsHead
from torch.optim import SGD

from tadfkd.algorithms import TADFKD
from tadfkd.engine.hooks import SampleGridHook

model.update(type=TADFKD)
for network in (model.teacher.model, model.student):
    network.update(type=ImageClassifier)
    network.head.update(type=LinearClsHead)
optim_wrapper.student.update(type=OptimWrapper)
optim_wrapper.student.optimizer.update(type=SGD)
default_hooks.samples.update(type=SampleGridHook)
val_dataloader.dataset.update(pipeline=[dict(type=PackInputs)])
val_evaluator.update(type=Accuracy)
""")
    work_dir = tmp_path / 'run'
    summary = distill(leaf, work_dir=str(work_dir)).summary
    assert summary['algorithm'] == 'TADFKD'
    assert_equal_weights(Run({}, summary, work_dir).weights(2), run.weights(2))
    # The config in the work directory is one that can be read.
    assert load_config(work_dir / 'leaf.py').model.type == 'tadfkd.TADFKD'


def test_neither_evaluation_nor_its_data_matter_to_training(
        run: Run, digits_config: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(_: Digits) -> NoReturn:
        raise AssertionError('real data were read')

    monkeypatch.setattr(Digits, 'load_data_list', refuse)
    # A run sets its own seed, so earlier random numbers do not matter.
    torch.manual_seed(123)
    summary = distill(
        digits_config,
        options=run.options,
        work_dir=str(tmp_path),
        evaluate=False).summary
    again = Run(run.options, summary, tmp_path)
    assert_equal_weights(again.weights(2), run.weights(2))
    assert summary['teacher_top1'] is None
    assert summary['student_top1_last'] is None
    assert summary['dataset'] is None
    assert summary['agreement_last'] == run.summary['agreement_last']


def test_without_data_a_hook_saves_the_best_and_stops(digits_config: str,
                                                      tiny_options: dict[str,
                                                                         Any],
                                                      tmp_path: Path) -> None:
    stop = dict(
        type='EarlyStoppingHook',
        monitor='finite',
        rule='greater',
        patience=1,
        min_delta=1)
    work_dir = tmp_path / 'run'
    summary = distill(
        digits_config,
        options=tiny_options | {
            'train_cfg.max_epochs': 9,
            'default_hooks.checkpoint.save_best': 'agreement',
            'custom_hooks': [stop],
        },
        work_dir=str(work_dir),
        evaluate=False).summary
    epochs = json.loads((work_dir / 'history.json').read_text())['epochs']
    assert 1 < len(epochs) < 9
    # A run that stops is finished, and has all its files.
    assert summary['finished'] is True
    assert (work_dir / f'samples/epoch_{len(epochs)}.png').is_file()
    best = max(epochs, key=lambda entry: entry['agreement'])
    assert [path.name for path in work_dir.glob('best_*')
            ] == [f'best_agreement_epoch_{best["epoch"]}.pth']


@pytest.mark.parametrize('options', [
    {
        'default_hooks.checkpoint.save_best': 'nonsense',
        'default_hooks.checkpoint.rule': 'greater'
    },
    {
        'custom_hooks':
        [dict(type='EarlyStoppingHook', monitor='nonsense', rule='less')]
    },
    {
        'param_scheduler.student':
        [dict(type='ReduceOnPlateauLR', monitor='nonsense', rule='less')]
    },
])
def test_a_metric_that_nothing_measures_is_refused(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        options: dict[str, Any]) -> None:
    config = load_config(
        digits_config,
        tiny_options | options,
        work_dir=str(tmp_path / 'run'),
        evaluate='custom_hooks' in options)
    with pytest.raises(UserError, match="waits for 'nonsense', which this"):
        train(config)
    assert not [*tmp_path.glob('run/*.pth')]


def test_what_a_resumed_run_takes_from_the_checkpoint_is_said(
        run: Run, digits_config: str, tmp_path: Path) -> None:
    optimizer = 'optim_wrapper.student.optimizer'
    changes = {
        f'{optimizer}.lr': 0.02,
        f'{optimizer}.weight_decay': 0.0,
        'train_cfg.max_epochs': 3,
        'randomness.seed': 7,
        'model.batch_size': 9,
        'optim_wrapper.student.clip_grad': dict(max_norm=1.0)
    }
    distill(
        digits_config,
        options=run.options | changes,
        work_dir=str(tmp_path / 'run'),
        resume=str(run.work_dir / 'epoch_2.pth'),
        evaluate=False)
    [log] = (tmp_path / 'run').glob('*/*.log')
    said = [
        line.partition(' - WARNING - ')[2]
        for line in log.read_text().splitlines()
        if line.endswith('see docs/reliability.md')
    ]
    # The batch size and the clipping are this run's.
    assert said == [
        f'{text}: see docs/reliability.md' for text in (
            f'{optimizer}.lr=0.02 has no effect, because the checkpoint has '
            'the state of 0.1', f'{optimizer}.weight_decay=0.0 has no effect, '
            'because the checkpoint has the state of 0.0005',
            'randomness.seed=7 has no effect, because the checkpoint has the '
            'state of 0', 'the schedules of the checkpoint keep the length of '
            'train_cfg.max_epochs=2, which is 3 now')
    ]
    with pytest.raises(
            UserError,
            match='optimizer.type is Adam, and the '
            'checkpoint has the state of SGD: set .*load_from'):
        distill(
            digits_config,
            options=run.options
            | {optimizer: dict(_delete_=True, type='Adam')},
            work_dir=str(tmp_path / 'other'),
            resume=str(run.work_dir / 'epoch_2.pth'),
            evaluate=False)


def test_rates_are_scaled_by_the_batch_of_the_model(
        tiny_config: Config) -> None:
    tiny_config.auto_scale_lr = dict(enable=True, base_batch_size=16)
    prepare(tiny_config)
    model = MODELS.build(tiny_config.model)
    rates = build_optimizers(tiny_config, model).get_lr()
    # Eight images per step in place of sixteen.
    for network in ('student', 'generator'):
        optimizer = tiny_config.optim_wrapper[network].optimizer
        assert rates[f'{network}.lr'] == [optimizer.lr / 2]


def test_a_loop_by_iterations_is_refused(tiny_config: Config) -> None:
    tiny_config.train_cfg = dict(by_epoch=False, max_iters=3)
    with pytest.raises(UserError, match='a distillation is counted in epochs'):
        train(tiny_config)
    assert not Path(tiny_config.work_dir).exists()


def test_the_log_is_read_by_the_tool_of_mmpretrain(
        run: Run, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = Path(mmpretrain.__file__).parent / '.mim/tools/analysis_tools/' \
        'analyze_logs.py'
    tool = runpy.run_path(str(path))
    [log] = run.work_dir.glob('*/vis_data/scalars.json')
    logs = [load_json_log(log)]
    rates = [line['student.lr'] for line in logs[0]['train']]
    assert [line['lr'] for line in logs[0]['train']] == rates != []
    arguments = SimpleNamespace(
        json_logs=[str(log)], include_outliers=True, keys=['lr'], legend=None)
    tool['cal_train_time'](logs, arguments)
    assert 'average iter time: ' in capsys.readouterr().out


def test_a_resumed_run_ends_with_the_same_weights(run: Run, digits_config: str,
                                                  tmp_path: Path) -> None:
    summary = distill(
        digits_config,
        options=run.options,
        work_dir=str(tmp_path),
        resume=str(run.work_dir / 'epoch_1.pth')).summary
    resumed = Run(run.options, summary, tmp_path)
    assert_equal_weights(resumed.weights(2), run.weights(2))
    for name in ('student_steps', 'generator_steps', 'images_generated',
                 'images_selected', 'student_top1_last', 'agreement_last'):
        assert summary[name] == run.summary[name], name


def test_the_teacher_is_the_same_bit_by_bit_after_training(
        digits_config: str, tiny_options: dict[str, Any],
        tiny_teacher_checkpoint: str, tmp_path: Path) -> None:
    tiny_options['train_cfg.max_epochs'] = 1
    model = train(
        load_config(digits_config, tiny_options, work_dir=str(tmp_path)))
    assert model.counters.student_steps == 4
    assert_equal_weights(model.teacher.network.state_dict(),
                         read_checkpoint(tiny_teacher_checkpoint))


def test_amp_trains_float32_networks(run: Run, digits_config: str,
                                     tmp_path: Path) -> None:
    summary = distill(
        digits_config,
        options=run.options | {
            'train_cfg.max_epochs': 1
        },
        work_dir=str(tmp_path),
        amp=True,
        evaluate=False).summary
    weights = Run(run.options, summary, tmp_path).weights(1)
    name = 'student.backbone.conv1.weight'
    # The precision is lower, so the results differ.
    assert not torch.equal(weights[name], run.weights(1)[name])
    for name, value in weights.items():
        assert torch.isfinite(value).all(), name
        assert value.dtype in (torch.float32, torch.int64), name


def test_predictions_are_written(run: Run, digits_config: str,
                                 tmp_path: Path) -> None:
    config = load_config(
        digits_config, run.options, work_dir=str(tmp_path / 'run'))
    checkpoint, out = run.work_dir / 'epoch_2.pth', tmp_path / 'out.csv'
    accuracy = evaluate(config, checkpoint, out)['accuracy/top1']
    rows = [*csv.DictReader(out.read_text().splitlines())]
    right = [row['class'] == row['label'] for row in rows]
    assert len(rows) == 599
    assert 100 * np.mean(right) == pytest.approx(accuracy, abs=1e-3)
    assert all(0.1 <= float(row['probability']) <= 1 for row in rows)
    config.launcher = 'pytorch'
    with pytest.raises(UserError, match='--out is given with --launcher'):
        evaluate(config, checkpoint, out)


def test_testing_a_checkpoint_of_other_networks_is_a_user_error(
        run: Run, digits_config: str, tiny_teacher_checkpoint: str,
        tmp_path: Path) -> None:
    config = load_config(
        digits_config, run.options, work_dir=str(tmp_path / 'run'))
    with pytest.raises(UserError, match='does not fit the network'):
        evaluate(config, tiny_teacher_checkpoint)
    assert not (tmp_path / 'run').exists()


def test_only_the_student_of_a_checkpoint_is_tested(run: Run,
                                                    digits_config: str,
                                                    tmp_path: Path) -> None:
    weights = run.weights(2)
    # The generator of an earlier version has other names.
    other = {
        name.replace('generator.project', 'generator.first'): value
        for name, value in weights.items()
    }
    assert other.keys() != weights.keys()
    torch.save(dict(state_dict=other), tmp_path / 'other.pth')
    config = load_config(
        digits_config, run.options, work_dir=str(tmp_path / 'run'))
    accuracy = evaluate(config, tmp_path / 'other.pth')['accuracy/top1']
    assert accuracy == pytest.approx(run.summary['student_top1_last'], abs=0.2)


def test_a_student_with_an_average_and_scaled_targets_is_tested(
        tiny_teacher_checkpoint: str, tmp_path: Path) -> None:
    path = config_folder('AgnosticDFKD') / f'{DIGITS}.py'
    options = shrinking_options('AgnosticDFKD', tiny_teacher_checkpoint)
    summary = distill(
        path, options=options, work_dir=str(tmp_path / 'run')).summary
    config = load_config(path, options, work_dir=str(tmp_path / 'test'))
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    accuracy = evaluate(config, checkpoint)['accuracy/top1']
    assert accuracy == pytest.approx(summary['student_top1_last'], abs=0.2)
    # Without its average the run would be evaluated as a random network.
    content = read_checkpoint(checkpoint)
    weights = {
        name: value
        for name, value in content['state_dict'].items()
        if not name.startswith('average.module.backbone')
    }
    torch.save(content | dict(state_dict=weights), tmp_path / 'part.pth')
    with pytest.raises(UserError, match='average'):
        evaluate(config, tmp_path / 'part.pth')


def test_a_teacher_trained_by_its_recipe_can_be_distilled(
        digits_config: str, tiny_options: dict[str, Any],
        tmp_path: Path) -> None:
    narrow = {
        'model.backbone.base_channels': 4,
        'model.backbone.stem_channels': 4,
        'model.head.in_channels': 32
    }
    config = load_config(
        SUPERVISED,
        narrow | {
            'train_cfg.max_epochs': 1,
            'train_dataloader.dataset.indices': 128,
            'default_hooks.checkpoint.interval': 1
        },
        work_dir=str(tmp_path / 'teacher'))
    train(config)
    path = tmp_path / 'teacher' / 'epoch_1.pth'
    accuracy = evaluate(config, path)['accuracy/top1']
    summary = distill(
        digits_config,
        options=tiny_options | {
            'train_cfg.max_epochs': 1,
            # It has hardly been trained.
            'default_hooks.teacher_sanity.min_top1': 0
        },
        teacher_checkpoint=str(path),
        work_dir=str(tmp_path / 'run')).summary
    assert summary['teacher_top1'] == pytest.approx(accuracy, abs=0.2)


def test_data_of_other_classes_are_refused_before_they_are_downloaded(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:

    def refuse(_: object) -> NoReturn:
        raise AssertionError('the data were downloaded')

    monkeypatch.setattr(CIFAR100, 'load_data_list', refuse)
    config = load_config(
        digits_config,
        tiny_options | {'val_dataloader.dataset.type': 'CIFAR100'},
        work_dir=str(tmp_path / 'run'))
    with pytest.raises(
            UserError,
            match='data set of val_dataloader has 100 classes and the model '
            '10: set val_dataloader.dataset .*--no-eval'):
        train(config)
    assert not (tmp_path / 'run').exists()


def test_a_config_without_teacher_cannot_be_distilled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no model.teacher.*use train'):
        distill(SUPERVISED, work_dir=str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


def test_changes_of_a_loaded_config_are_a_user_error(
        tiny_config: Config) -> None:
    with pytest.raises(UserError, match=r'\(seed\): give the changes to'):
        distill(tiny_config, seed=3)
