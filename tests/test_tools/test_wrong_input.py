"""A user's mistake: one sentence, exit code 1, nothing half-written."""
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tadfkd.apis import distill, load_config, train
from tadfkd.errors import UserError

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'
FASHION = 'configs/tadfkd/resnet18w16_to_resnet18w8_fashion_mnist.py'
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('arguments, message', [
    ([DIGITS, '--teacher-checkpoint', 'nowhere.pth'
      ], 'error: teacher checkpoint nowhere.pth does not exist: name a file '
     'written by torch.save (`python tools/train.py '
     'configs/teachers/resnet18w16_digits.py` trains one)\n'),
    (['configs/tadfkd/nothing.py'
      ], 'error: config configs/tadfkd/nothing.py does not exist: name a file '
     'below configs/\n'),
    ([DIGITS, '--cfg-options', 'model.selector.type=GMMSelektor'
      ], "error: no selector is registered as 'GMMSelektor': did you mean "
     "'GMMSelector'?\n"),
])
def test_a_tool_ends_in_one_line_and_exit_code_1(run_tool_process: Callable[
    ..., subprocess.CompletedProcess], teacher_of: Callable[[str], Path],
                                                 tmp_path: Path,
                                                 arguments: list,
                                                 message: str) -> None:
    if '--cfg-options' in arguments:
        arguments = [
            *arguments[:1], '--teacher-checkpoint',
            teacher_of('resnet18w16_digits'), *arguments[1:]
        ]
    process = run_tool_process(
        'train.py',
        arguments[0],
        '--work-dir',
        tmp_path / 'run',
        *arguments[1:],
        check=False)
    assert process.returncode == 1
    assert process.stderr.endswith(message)
    assert 'Traceback' not in process.stderr
    assert not (tmp_path / 'run').exists()


def attempt(config: str, teacher: Path, work_dir: Path, options: dict) -> None:
    """Train in this process, as tools/train.py does."""
    train(
        load_config(
            ROOT / config,
            work_dir=str(work_dir),
            options={'model.teacher.checkpoint': str(teacher)} | options))


@pytest.mark.parametrize('options, message', [
    ({
        'optim_wrapper.student.optimizer.type': 'SGDD'
    }, "no optimizer is registered as 'SGDD': did you mean 'SGD'"),
    ({
        'optim_wrapper.student.optimizer.lr': -1
    }, 'optim_wrapper cannot be built .*learning rate: -1'),
    ({
        'optim_wrapper.student.optimizer.speed': 1
    }, "SGD in the config got an unexpected keyword argument 'speed'"),
    ({
        'optim_wrapper.generator': None
    }, 'generator'),
    ({
        'train_cfg.val_interval': 0
    }, 'val_interval must be a whole number >= 1, got 0'),
    ({
        'model.selector': None
    }, 'selector must be a dictionary, got None: set model.selector'),
    ({
        'model.adversarial_loss': None
    }, 'adversarial_loss must be a dictionary, got None'),
    ({
        'model.image_losses': []
    }, 'image_losses must be a dictionary, got .*: set model.image_losses'),
    ({
        'model.adversarial_loss.clamp': 0.01
    }, 'clamp must be a list of 2 values or None, got 0.01'),
    ({
        'model.teacher': None
    }, 'model.teacher is None'),
    ({
        'val_evaluator.type': 'mmpretrain.Acuracy'
    }, "registered as 'mmpretrain.Acuracy': did you mean 'Accuracy'"),
    ({
        'default_hooks.summary.last': 3
    }, "SummaryHook in the config got an unexpected keyword argument 'last'"),
    ({
        'model.student.head.num_classes': 7
    }, 'student has 7 classes and the teacher 10: set num_classes'),
    ({
        'model.generator.image_size': 18
    }, 'divisible by 4 and at least 8, got 18: set '
     'model.generator.image_size'),
    ({
        'model.generator.image_channels': 3
    }, 'teacher takes images of 1 channels .* the generator makes 3: '
     'change model.generator.image_channels'),
    ({
        'model.bn_loss.loss_weight': -1
    }, 'loss_weight must be a number >= 0.0, got -1'),
    ({
        'model.num_student_steps': 0
    }, 'num_student_steps must be a whole number >= 1, got 0: set '
     'model.num_student_steps'),
    ({
        'train_dataloader.dataset.num_steps': 0
    }, 'num_steps must be a whole number >= 1, got 0: set '
     'train_dataloader.dataset.num_steps'),
    ({
        'train_cfg.max_epochs': 0
    }, 'max_epochs must be .* got 0'),
    ({
        'model.batch_size': 'many'
    }, "batch_size must be a whole number, got 'many': set "
     'model.batch_size'),
    ({
        'model.type': 'TADFKT'
    }, "no model is registered as 'TADFKT': did you mean 'TADFKD'"),
    ({
        'model.generator.type': 'UpsamplingGenerater'
    }, "did you mean 'UpsamplingGenerator'"),
    ({
        'model.student_loss.type': 'L2'
    }, "registered as 'L2': did you mean"),
    ({
        'model.batchsize': 3
    }, "got an unexpected keyword argument 'batchsize': did you mean "
     "'batch_size'"),
    ({
        'model.batch_size': None
    }, 'batch_size must be a whole number, got None'),
    ({
        'modle.batch_size': 3
    }, "option modle.batch_size is not in the config: did you mean 'model'"),
    ({
        'teacher.checkpoint': 'x'
    },
     'option teacher.checkpoint has no effect.*set model.teacher.checkpoint'),
    ({
        'model.teacher.model.backbone.base_channels': 8,
        'model.teacher.model.backbone.stem_channels': 8
    }, 'teacher checkpoint .* does not fit the network: of 122 tensors, .* of '
     'another shape'),
    ({
        'model.teacher.checkpoint': None
    }, 'teacher has no checkpoint: name one by --teacher-checkpoint or '
     'model.teacher.checkpoint .*resnet18w16_digits.py` trains one'),
    ({
        'optim_wrapper.studnet': dict(type='OptimWrapper')
    }, "optim_wrapper has the key 'studnet'.*did you mean 'student'"),
    ({
        'default_hooks.samples.type': 'SampleGrid'
    }, "registered as 'SampleGrid': did you mean 'SampleGridHook'"),
])
def test_a_wrong_value_is_answered_by_what_to_change(teacher_of: Callable[
    [str], Path], tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        attempt(DIGITS, teacher_of('resnet18w16_digits'), tmp_path / 'run',
                options)
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'run').exists()


def test_missing_data_files_are_named(teacher_of: Callable[[str], Path],
                                      tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    from tadfkd.datasets import FashionMNIST
    monkeypatch.setattr(FashionMNIST, 'DEBIAN_FOLDER', str(tmp_path))
    # Nothing listens there.
    monkeypatch.setattr(FashionMNIST, 'URL', 'http://127.0.0.1:9/')
    with pytest.raises(
            UserError, match='t10k-images.* or train with '
            '--no-eval'):
        attempt(FASHION, teacher_of('resnet18w16_fashion_mnist'),
                tmp_path / 'run',
                {'val_dataloader.dataset.data_root': str(tmp_path / 'none')})
    assert not (tmp_path / 'run').exists()


def test_a_checkpoint_of_other_networks_is_not_resumed(
        teacher_of: Callable[[str], Path], tmp_path: Path) -> None:
    foreign = tmp_path / 'foreign.pth'
    torch.save(
        dict(state_dict={'student.weight': torch.zeros(2)}, meta={}), foreign)
    with pytest.raises(
            UserError, match='does not hold the networks of this config'):
        attempt(DIGITS, teacher_of('resnet18w16_digits'), tmp_path / 'run', {
            'load_from': str(foreign),
            'resume': True
        })


def test_a_run_without_a_seed_reports_the_one_it_drew(tiny_options: dict,
                                                      tmp_path: Path) -> None:
    summaries = []
    for name, seed in (('drawn', None), ('again', 0)):
        config = load_config(
            ROOT / DIGITS,
            options=tiny_options | {
                'randomness.seed':
                seed if seed is None else summaries[0]['seed']
            },
            work_dir=str(tmp_path / name),
            evaluate=False)
        summaries.append(distill(config))
    assert summaries[0]['seed'] is not None
    histories = [(tmp_path / name / 'history.json').read_text()
                 for name in ('drawn', 'again')]
    epochs = [json.loads(history)['epochs'] for history in histories]
    assert epochs[0] == epochs[1]


@pytest.mark.parametrize('text', ['x = undefined', '(', 'raise SystemExit'])
def test_a_config_that_fails_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(UserError, match='broken.py cannot be read'):
        load_config(path)
