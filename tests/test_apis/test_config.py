"""From a config file and options to a checked config."""
from contextlib import nullcontext
from pathlib import Path

import pytest

from tadfkd.apis import load_config
from tadfkd.errors import UserError

SUPERVISED = Path(__file__).resolve().parents[2] / 'configs' / 'teachers' / \
    'resnet18w16_digits.py'
EVALUATION = ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader',
              'test_cfg', 'test_evaluator')


def write_config(path: Path, text: str) -> Path:
    """A config of the test's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_missing_file_is_a_user_error() -> None:
    with pytest.raises(
            UserError, match='configs/nowhere.py does not exist.*configs/'):
        load_config('configs/nowhere.py')


@pytest.mark.parametrize('text', [
    'model = dict(', "_base_ = ['./not_there.py']", 'x = undefined',
    'model = dict(teacher={{_base_.teacher}})', 'raise SystemExit'
])
def test_a_config_that_cannot_be_read_is_a_user_error(tmp_path: Path,
                                                      text: str) -> None:
    path = write_config(tmp_path / 'broken.py', text)
    with pytest.raises(UserError, match=f'config {path} cannot be read'):
        load_config(path)


def test_options_change_only_what_they_name(digits_config: str) -> None:
    plain = load_config(digits_config).to_dict()
    changed = load_config(digits_config, {'model.batch_size': 7}).to_dict()
    assert plain['model']['batch_size'] != 7
    plain['model']['batch_size'] = 7
    assert changed == plain


def test_an_unknown_root_option_is_answered_with_the_nearest(
        digits_config: str) -> None:
    with pytest.raises(
            UserError,
            match="option modle.batch_size is not in the config: did you mean "
            "'model'"):
        load_config(digits_config, {'modle.batch_size': 7})


@pytest.mark.parametrize(
    'option', ['teacher.checkpoint', 'student.head', 'generator.width'])
def test_an_option_of_a_part_that_was_copied_is_refused_with_its_place(
        digits_config: str, option: str) -> None:
    with pytest.raises(
            UserError, match=f'option {option} has no effect.*model.{option}'):
        load_config(digits_config, {option: 'x'})


def test_an_option_below_a_number_is_a_user_error(digits_config: str) -> None:
    with pytest.raises(UserError, match='--cfg-options cannot be applied'):
        load_config(digits_config, {'model.batch_size.size': 7})


def test_a_teacher_checkpoint_replaces_that_of_the_config(
        digits_config: str) -> None:
    config = load_config(digits_config, teacher_checkpoint='mine.pth')
    assert config.model.teacher.checkpoint == 'mine.pth'


def test_a_teacher_checkpoint_for_a_config_without_teacher_is_a_user_error(
) -> None:
    with pytest.raises(UserError, match='--teacher-checkpoint was given'):
        load_config(SUPERVISED, teacher_checkpoint='mine.pth')


def test_without_evaluation_all_six_parts_of_it_are_none(
        digits_config: str) -> None:
    with_data = load_config(digits_config)
    without = load_config(digits_config, evaluate=False)
    for key in EVALUATION:
        assert with_data[key] is not None
        assert without[key] is None
    assert without.train_dataloader == with_data.train_dataloader


def test_a_seed_replaces_that_of_the_config(digits_config: str) -> None:
    assert load_config(digits_config).randomness.seed == 0
    options = {'randomness.seed': 5, 'randomness.deterministic': True}
    assert load_config(
        digits_config, options, seed=0).randomness == dict(
            seed=0, deterministic=True)


@pytest.mark.parametrize('seed', [-1, 1.5])
def test_a_seed_that_is_no_whole_number_is_a_user_error(
        digits_config: str, seed: float) -> None:
    with pytest.raises(UserError, match=f'got {seed}: set randomness.seed'):
        load_config(digits_config, seed=seed)


def test_the_work_directory_has_a_default(tmp_path: Path,
                                          digits_config: str) -> None:
    assert load_config(digits_config).work_dir == str(
        Path('work_dirs', 'tadfkd', 'resnet18w16_to_resnet18w8_digits'))
    path = write_config(tmp_path / 'small.py', "work_dir = 'there'\n")
    assert load_config(path).work_dir == 'there'
    assert load_config(path, work_dir='here').work_dir == 'here'


@pytest.mark.parametrize('max_epochs', [0, -3, 1.5, '2'])
def test_fewer_than_one_epoch_is_refused(digits_config: str,
                                         max_epochs: object) -> None:
    with pytest.raises(
            UserError,
            match=f'>= 1, got {max_epochs!r}: set train_cfg.max_epochs'):
        load_config(digits_config, {'train_cfg.max_epochs': max_epochs})


def test_amp_changes_the_wrapper_of_each_network(digits_config: str) -> None:
    plain = load_config(digits_config).optim_wrapper
    amp = load_config(digits_config, amp=True).optim_wrapper
    for name in ('student', 'generator'):
        assert plain[name].type == 'OptimWrapper'
        assert amp[name].type == 'tadfkd.AutocastOptimWrapper'
        assert amp[name].optimizer == plain[name].optimizer
    assert amp.constructor == plain.constructor


@pytest.mark.parametrize('generation', [7, 8])
def test_amp_needs_a_gpu_with_bfloat16(monkeypatch: pytest.MonkeyPatch,
                                       digits_config: str,
                                       generation: int) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.get_device_capability', lambda:
                        (generation, 5))
    with pytest.raises(UserError, match='leave --amp out') if generation < 8 \
            else nullcontext():
        load_config(digits_config, amp=True)


def test_amp_changes_the_only_wrapper_of_a_plain_classifier() -> None:
    wrapper = load_config(SUPERVISED, amp=True).optim_wrapper
    assert wrapper.type == 'tadfkd.AutocastOptimWrapper'
    assert wrapper.optimizer == load_config(SUPERVISED).optim_wrapper.optimizer


def test_resuming_takes_the_latest_or_the_named_checkpoint(
        digits_config: str, tmp_path: Path) -> None:
    config = load_config(digits_config)
    assert (config.resume, config.load_from) == (False, None)
    config = load_config(digits_config, resume=True)
    assert (config.resume, config.load_from) == (True, None)
    checkpoint = str(tmp_path / 'epoch_3.pth')
    with pytest.raises(UserError, match='epoch_3.pth, which does not exist'):
        load_config(digits_config, resume=checkpoint)
    Path(checkpoint).touch()
    config = load_config(digits_config, resume=checkpoint)
    assert (config.resume, config.load_from) == (True, checkpoint)
