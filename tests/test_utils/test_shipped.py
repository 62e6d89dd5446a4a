"""The configs that come with the package."""
from pathlib import Path

import pytest

from tadfkd.errors import UserError
from tadfkd.utils.shipped import find_config, shipped_configs

NAME = 'dafl/resnet34_to_resnet18_cifar10.py'


def test_a_shipped_config_is_the_file_of_the_repository() -> None:
    root = Path(__file__).resolve().parents[2]
    assert find_config(f'tadfkd::{NAME}') == root / 'configs' / NAME
    assert find_config('tadfkd::_base_/default_runtime.py').is_file()
    assert all(find_config(name).is_file() for name in shipped_configs())


@pytest.mark.parametrize('given', [
    f'configs/{NAME}', f'somewhere/else/{NAME}',
    'tadfkd::dafl/resnet34_to_resnet18_cifar.py'
])
def test_a_missing_file_is_answered_with_the_shipped_config(
        given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        find_config(given)
    assert str(caught.value) == (
        f'config {given} does not exist: name a file, or the shipped config '
        f'tadfkd::{NAME}')


def test_a_config_that_resembles_none_is_answered_with_the_list() -> None:
    with pytest.raises(UserError, match='which `tadfkd configs` lists'):
        find_config('my_own/run.py')
