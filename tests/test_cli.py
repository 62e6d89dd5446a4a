"""The command ``tadfkd``: what it lists, how it starts, how it ends."""
import shlex
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from tadfkd.cli import add_cfg_options, main, resuming_command, run_tool
from tadfkd.errors import UnhealthyRun, UserError

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'

# Each command line ends before torch or mmengine is needed.
LIGHT = """
import sys
from tadfkd.cli import main
for line in ('--help', 'train --help', 'train x.py --sed 3', 'trian x.py',
             'train x.py', 'train tadfkd::tadfkd/x.py', 'test x.py x.pth',
             'check tadfkd::x.py', 'configs --show x.py', 'configs vitw64'):
    try:
        main(line.split())
    except SystemExit:
        pass
heavy = {'torch', 'mmengine', 'mmpretrain', 'matplotlib'} & {*sys.modules}
assert not heavy, heavy
"""


def test_torch_is_imported_after_the_arguments_were_read(
        tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, '-c', LIGHT],
                             cwd=tmp_path,
                             capture_output=True,
                             text=True)
    assert process.returncode == 0, process.stderr
    assert 'invalid choice' in process.stderr
    assert 'unrecognized arguments: --sed 3' in process.stderr
    assert process.stderr.count('does not exist: name a file') == 5
    assert 'tadfkd::teachers/vitw64_digits.py\n' in process.stdout


@pytest.mark.parametrize('text, value', [
    ('my data/teacher 1.pth', 'my data/teacher 1.pth'),
    ("'my data'", 'my data'),
    ('my_data', 'my_data'),
    ('[1, 2]', [1, 2]),
    ('3', 3),
    ('a=b', 'a=b'),
])
def test_an_option_keeps_the_blanks_of_a_path(text: str,
                                              value: object) -> None:
    parser = ArgumentParser()
    add_cfg_options(parser)
    arguments = parser.parse_args(
        ['--cfg-options', 'd=2', '--cfg-options', f'a.b={text}', 'c=1'])
    assert arguments.cfg_options == {'a.b': value, 'c': 1, 'd': 2}


def test_an_option_without_a_value_is_an_error(
        capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(['configs', '--cfg-options', 'model'])
    assert "takes KEY=VALUE, got 'model'" in capsys.readouterr().err


def test_a_missing_mmcv_is_one_sentence(
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    with pytest.raises(SystemExit) as caught:
        main(['demo'])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith('error: tadfkd needs the module `mmcv`')
    assert error.count('\n') == 1


def test_all_configs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(['configs'])
    names = capsys.readouterr().out.split()
    assert 'tadfkd::tadfkd/resnet34_to_resnet18_cifar10.py' in names
    assert len(names) == len([
        path for path in CONFIGS.glob('*/*.py') if path.parent.name != '_base_'
    ])
    main(['configs', 'teachers/vgg*_digits'])
    assert capsys.readouterr().out.split() == [
        'tadfkd::teachers/vgg11_digits.py',
        'tadfkd::teachers/vgg11bn_digits.py'
    ]
    with pytest.raises(SystemExit):
        main(['configs', 'no such config'])
    assert "no shipped config has 'no such config' in its name" in \
        capsys.readouterr().err


def test_a_config_is_printed_and_imports_from_the_working_directory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'a_module_of_the_test.py').touch()
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'tadfkd::dafl/resnet34_to_resnet18_cifar10.py'\n"
        "custom_imports = dict(imports=['a_module_of_the_test'])\n"
        'model = dict(batch_size=3)\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    main(['configs', '--show', 'mine.py'])
    assert 'a_module_of_the_test' in sys.modules
    scope: dict = {}
    exec(capsys.readouterr().out, scope)
    assert scope['model']['batch_size'] == 3
    assert scope['model']['teacher']['model']['backbone']['depth'] == 34


def test_the_newest_checkpoint_counts_whatever_the_run_began_with() -> None:
    command = resuming_command(
        ['tools/train.py', 'my config.py', '--resume', 'old.pth'])
    words = shlex.split(command)
    assert words == [
        sys.executable, 'tools/train.py', 'my config.py', '--resume',
        'old.pth', '--resume'
    ]
    # Once is enough, however often the run is stopped.
    assert resuming_command(words[1:]) == command


def test_a_sweep_combines_seeds_and_settings(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, 'path', [*sys.path])
    config = str(CONFIGS / 'dafl/resnet18w16_to_resnet18w8_digits.py')
    command = [
        'sweep', '--config', config, '--seeds', '0:2', '7', '--set',
        'model.batch_size=8,16', 'model.generator.init_size=[4,4],[2,2]',
        '--out',
        str(tmp_path), '--launch', 'print'
    ]
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 * 4
    assert lines[-1].endswith(
        '/model.batch_size=16,model.generator.init_size=_2_2_/seed_7 --once '
        "--cfg-options model.batch_size=16 'model.generator.init_size=[2, 2]'")
    for wrong in ('2:1', '-1', 'x'):
        with pytest.raises(SystemExit):
            main([*command, f'--seeds={wrong}'])
        assert 'invalid' in capsys.readouterr().err


def test_once_needs_a_folder_and_one_process(
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'path', [*sys.path])
    config = str(CONFIGS / 'dafl/resnet18w16_to_resnet18w8_digits.py')
    for words in ([], ['--work-dir', 'x', '--launcher', 'slurm']):
        with pytest.raises(SystemExit):
            main(['train', config, '--once', *words])
        assert 'error: --once is for one process and a folder of its own' in \
            capsys.readouterr().err


@pytest.mark.parametrize('error, code', [(UserError, 1), (UnhealthyRun, 3)])
def test_a_mistake_ends_a_tool_in_one_line_with_its_exit_code(
        capsys: pytest.CaptureFixture[str], error: type[UserError],
        code: int) -> None:

    def main() -> None:
        raise error('x must be 1, got 2: set x')

    with pytest.raises(SystemExit) as caught:
        run_tool(main)
    assert caught.value.code == code
    assert capsys.readouterr().err == 'error: x must be 1, got 2: set x\n'


def test_a_tool_shows_a_bug_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 / 0)


@pytest.mark.parametrize('option, backend', [
    (['--tensorboard'], dict(type='TensorboardVisBackend')),
    (['--wandb', 'mine'
      ], dict(type='WandbVisBackend', init_kwargs=dict(project='mine'))),
    (['--mlflow', 'http://host:5000'],
     dict(
         type='MLflowVisBackend',
         tracking_uri='http://host:5000',
         exp_name='tadfkd')),
    (['--mlflow'],
     dict(
         type='MLflowVisBackend',
         tracking_uri=Path('mlruns').resolve().as_uri(),
         exp_name='tadfkd')),
    (['--aim'], dict(type='AimVisBackend')),
])
def test_recorders_are_added_to_those_of_the_config(
        option: list[str], backend: dict,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # main() changes the first, and --mlflow the second.
    monkeypatch.setattr(sys, 'path', [*sys.path])
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    configs: list = []
    monkeypatch.setattr('tadfkd.apis.train',
                        lambda config, **_: configs.append(config))
    main(['train', 'tadfkd::teachers/vitw64_digits.py', *option])
    [config] = configs
    assert config.visualizer.type == 'UniversalVisualizer'
    assert config.visualizer.vis_backends == [
        dict(type='LocalVisBackend'), backend
    ]
