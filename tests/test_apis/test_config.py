"""From a config file and options to a checked config."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from torch.nn import Linear
from torch.optim import SGD

from tadfkd.apis import load_config
from tadfkd.errors import UserError

SUPERVISED = Path(__file__).resolve().parents[2] / 'configs' / 'teachers' / \
    'resnet18w16_digits.py'


def write_config(path: Path, text: str) -> Path:
    """A config of the test's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize('text', [
    'model = dict(', "_base_ = ['./not_there.py']", 'x = undefined',
    'model = dict(teacher={{_base_.teacher}})', 'raise SystemExit'
])
def test_a_config_that_cannot_be_read_is_a_user_error(tmp_path: Path,
                                                      text: str) -> None:
    path = write_config(tmp_path / 'broken.py', text)
    with pytest.raises(UserError, match=f'config {path} cannot be read'):
        load_config(path)


def test_a_shipped_config_is_found_from_any_folder(
        digits_config: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = 'tadfkd::tadfkd/resnet18w16_to_resnet18w8_digits.py'
    expected = load_config(digits_config).to_dict()
    assert load_config(name).to_dict() == expected
    assert get_config(name).model.to_dict() == expected['model']
    # A config may extend a shipped one, and may compose shipped parts.
    extended = write_config(tmp_path / 'work_dirs.py', f'_base_ = {name!r}')
    assert load_config(
        extended, work_dir=expected['work_dir']).to_dict() == expected
    teacher = write_config(
        tmp_path / 'teacher.py', "_base_ = 'tadfkd::_base_/teachers/"
        "vitw64_digits.py'\nmodel = {{_base_.teacher.model}}")
    assert '_scope_' not in load_config(teacher).model
    assert load_config(
        name, teacher='tadfkd::teachers/vitw64_digits.py'
    ).model.teacher.model.backbone.type == 'VisionTransformer'


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


@pytest.mark.parametrize('text, place', [
    ("vis_backends = [dict(type='TensorboardVisBackend')]",
     'visualizer.vis_backends'),
    ('generator = dict(width=3)', 'model.generator'),
    ("data_preprocessor = dict(mean=[3])", 'model.data_preprocessor'),
])
def test_a_variable_whose_copy_counts_is_refused(digits_config: str,
                                                 tmp_path: Path, text: str,
                                                 place: str) -> None:
    path = write_config(tmp_path / 'mine.py',
                        f'_base_ = {digits_config!r}\n{text}')
    name = text.partition(' ')[0]
    with pytest.raises(
            UserError,
            match=f'{name} in .*mine.py has no effect.*: set {place}'):
        load_config(path)
    with pytest.raises(UserError, match=f'{name} has no effect.*set {place}'):
        load_config(digits_config, {name: []})
    # It has an effect where the file copies it itself.
    path.write_text(f"_base_ = {digits_config!r}\n"
                    'optim_wrapper = dict(student=dict(type="OptimWrapper"))\n'
                    "generator = dict(type='Mine')\n"
                    'model = dict(generator=dict(_delete_=True, **generator))')
    assert load_config(path).model.generator.type == 'Mine'


def test_an_option_may_add_an_argument_of_the_runner(digits_config: str,
                                                     tmp_path: Path) -> None:
    hooks = [dict(type='EMAHook')]
    config = load_config(digits_config, {'custom_hooks': hooks})
    assert config.custom_hooks == hooks
    with pytest.raises(UserError, match="did you mean 'custom_hooks'?"):
        load_config(digits_config, {'custom_hook': hooks})
    with pytest.raises(UserError, match='custom_imports cannot be imported'):
        load_config(digits_config, {'custom_imports.imports': 'not_there'})


def test_a_preprocessor_beside_the_model_is_the_models(tmp_path: Path) -> None:
    path = write_config(
        tmp_path / 'plain.py', "model = dict(type='ImageClassifier')\n"
        'data_preprocessor = dict(mean=[3.0])')
    assert load_config(path).model.data_preprocessor.mean == [3.0]


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'windows.py'
    path.write_text('x = 1', 'utf-8-sig')
    with pytest.raises(UserError, match='UTF-8 without a byte order mark'):
        load_config(path)


def test_a_teacher_checkpoint_for_a_config_without_teacher_is_a_user_error(
) -> None:
    with pytest.raises(UserError, match='--teacher-checkpoint was given'):
        load_config(SUPERVISED, teacher_checkpoint='mine.pth')


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


@pytest.mark.parametrize('max_epochs', [0, -3, 1.5, '2'])
def test_fewer_than_one_epoch_is_refused(digits_config: str,
                                         max_epochs: object) -> None:
    with pytest.raises(
            UserError,
            match=f'>= 1, got {max_epochs!r}: set train_cfg.max_epochs'):
        load_config(digits_config, {'train_cfg.max_epochs': max_epochs})


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


def test_another_teacher_replaces_that_of_the_config(
        digits_config: str) -> None:
    config = load_config(
        digits_config, teacher='configs/teachers/vitw64_digits.py')
    assert config.model.teacher.model.backbone.type == 'VisionTransformer'
    assert config.model.teacher.checkpoint.startswith(
        'work_dirs/teachers/vitw64_digits/')
    assert 'depth' not in config.model.teacher.model.backbone
    # Its run does not write where the run with the config's own teacher does.
    assert config.work_dir == load_config(
        digits_config).work_dir + '_from_vitw64_digits'


def test_an_option_changes_the_other_teacher(digits_config: str) -> None:
    config = load_config(
        digits_config, {'model.teacher.checkpoint': 'mine.pth'},
        teacher='configs/teachers/vitw64_digits.py')
    assert config.model.teacher.checkpoint == 'mine.pth'


def test_a_teacher_that_cannot_be_used_is_a_user_error(
        digits_config: str) -> None:
    with pytest.raises(UserError, match='--teacher was given, but'):
        load_config(SUPERVISED, teacher=SUPERVISED)
    with pytest.raises(UserError, match='default_runtime.py, which sets no'):
        load_config(digits_config, teacher='configs/_base_/default_runtime.py')
    with pytest.raises(UserError, match='nowhere.py does not exist'):
        load_config(digits_config, teacher='nowhere.py')


def test_the_content_of_a_config_is_a_config(digits_config: str) -> None:
    content = dict(_base_=digits_config, model=dict(batch_size=7))
    config = load_config(content)
    assert config.model.batch_size == 7
    assert config.model.teacher == load_config(digits_config).model.teacher
    # What the user gave stays as it is.
    assert content['_base_'] == digits_config


def test_what_a_config_cannot_hold_is_named_or_refused(
        digits_config: str) -> None:
    own = dict(
        _delete_=True,
        type='tadfkd.ModuleClassifier',
        factory=lambda: Linear(2, 2))
    config = load_config(
        dict(
            _base_=digits_config,
            model=dict(student=own),
            optim_wrapper=dict(student=dict(optimizer=dict(type=SGD)))))
    assert config.optim_wrapper.student.optimizer.type == 'torch.optim.sgd.SGD'
    read = Config.fromstring(config.pretty_text, '.py')
    assert read.model.student.factory == '<live object>'
    with pytest.raises(
            UserError,
            match='model.augment is Linear, which a '
            'config cannot hold'):
        load_config(dict(_base_=digits_config, model=dict(augment=Linear)))
