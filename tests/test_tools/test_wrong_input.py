"""A user's mistake: one sentence, exit code 1, and no file written."""
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tadfkd.apis import load_config, train
from tadfkd.errors import UserError

DIGITS = 'configs/tadfkd/resnet18w16_to_resnet18w8_digits.py'
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('arguments, message', [
    ([DIGITS, '--teacher-checkpoint', 'nowhere.pth'
      ], 'error: teacher checkpoint nowhere.pth does not exist: name a file '
     'written by torch.save (`tadfkd train '
     'tadfkd::teachers/resnet18w16_digits.py` trains one)\n'),
    (['configs/tadfkd/nothing.py'
      ], 'error: config configs/tadfkd/nothing.py does not exist: name a '
     'file, or a shipped config, which `tadfkd configs` lists\n'),
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
        'optim_wrapper.student.clip_grad': dict(max_norms=1)
    }, 'optim_wrapper cannot be built .*max_norms'),
    ({
        'optim_wrapper.student.optimizer': dict(
            _delete_=True, type='SparseAdam')
    }, 'optim_wrapper cannot be built .*does not support dense gradients'),
    ({
        'optim_wrapper.student.optimizer': dict(_delete_=True, type='LBFGS')
    }, 'optim_wrapper cannot be built .*closure'),
    ({
        'optim_wrapper.studnet': dict(type='OptimWrapper')
    }, "optim_wrapper has the key 'studnet'.*did you mean 'student'"),
    ({
        'val_dataloader.sampler': dict(_delete_=True, type='InfiniteSampler')
    }, 'val_dataloader.sampler is an InfiniteSampler.*set its type'),
    ({
        'train_cfg.val_interval': 0
    }, 'val_interval must be a whole number >= 1, got 0'),
    ({
        'train_cfg.max_iters': 3
    }, 'train_cfg does not fit .*max_iters.*: change train_cfg'),
    ({
        'model.selector': None
    }, 'selector must be a dictionary, got None: set model.selector'),
    ({
        'model.adversarial_loss.clamp': 0.01
    }, 'clamp must be a list of 2 values or None, got 0.01'),
    ({
        'model.teacher': None
    }, 'model.teacher is None'),
    ({
        'default_hooks.summary.last': 3
    }, "SummaryHook in the config got an unexpected keyword argument 'last'"),
    ({
        'model.student.head.num_classes': 7
    }, 'student has 7 classes and the teacher 10: give model.student as many'),
    ({
        'model.generator.image_channels': 3
    }, 'teacher takes images of 1 channels .* the generator makes 3: change '
     'model.generator.image_channels'),
    ({
        'model.batchsize': 3
    }, "got an unexpected keyword argument 'batchsize': did you mean "
     "'batch_size'"),
    ({
        'model.teacher.checkpoint': None
    }, 'teacher has no checkpoint: name one by --teacher-checkpoint, '
     'model.teacher.checkpoint or .*resnet18w16_digits.py` trains one'),
])
def test_a_wrong_value_is_answered_by_what_to_change(teacher_of: Callable[
    [str], Path], tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        attempt(DIGITS, teacher_of('resnet18w16_digits'), tmp_path / 'run',
                options)
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'run').exists()
