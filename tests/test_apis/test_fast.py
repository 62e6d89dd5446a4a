"""Settings that are fast on this machine."""
from typing import Any

import pytest
import torch

from tadfkd.apis import distill, fast, load_config
from tadfkd.errors import UserError

TEACHER = 'tadfkd::teachers/resnet18w16_digits.py'


@pytest.fixture(params=[False, True])
def bfloat16(request: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the machine is one with bfloat16 instructions."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(
        torch.cpu,
        'get_capabilities',
        lambda: dict(avx2=True, avx512_bf16=request.param),
        raising=False)
    return request.param


def test_the_switch_sets_what_the_machine_carries(digits_config: str,
                                                  bfloat16: bool) -> None:
    config = load_config(digits_config, fast=True)
    dtype = 'bfloat16' if bfloat16 else 'float32'
    assert config.model.channels_last
    assert config.model.lean_teacher == dtype
    assert config.model.select_on == 'plain'
    assert 'compile' not in config.model
    for network in 'student', 'generator':
        wrapper = config.optim_wrapper[network]
        assert wrapper.optimizer.fused
        assert (wrapper.type == 'tadfkd.AutocastOptimWrapper') == bfloat16
    line = fast.fast_settings(config)
    assert line.startswith(f'computes with: {dtype}')
    assert ('no bfloat16 instructions' in line) != bfloat16


def test_a_long_run_is_compiled_if_there_is_a_compiler(
        digits_config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {'train_cfg.max_epochs': 100_000}
    assert load_config(digits_config, long, fast=True).model.compile
    monkeypatch.setattr(fast.shutil, 'which', lambda name: None)
    assert 'compile' not in load_config(digits_config, long, fast=True).model


def test_what_a_config_sets_stays(digits_config: str,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, 'get_capabilities',
                        lambda: dict(amx_bf16=True))
    own = {
        'model.channels_last': False,
        'model.compile': False,
        'train_cfg.max_epochs': 100_000,
        'optim_wrapper.student.optimizer.fused': False,
        'optim_wrapper.student.type': 'AmpOptimWrapper'
    }
    config = load_config(digits_config, own, fast=True)
    assert not config.model.channels_last and not config.model.compile
    assert not config.optim_wrapper.student.optimizer.fused
    assert config.optim_wrapper.student.type == 'AmpOptimWrapper'
    assert config.optim_wrapper.generator.type == 'OptimWrapper'


def test_a_plain_classifier_is_refused() -> None:
    with pytest.raises(UserError, match='--fast was given, but .* distils no'):
        load_config(TEACHER, fast=True)


def test_a_fast_run_learns_what_a_plain_one_does(digits_config: str,
                                                 tiny_options: dict[str, Any],
                                                 tmp_path: Any,
                                                 bfloat16: bool) -> None:
    plain, quick = (
        distill(
            digits_config,
            options=tiny_options,
            work_dir=str(tmp_path / str(is_fast)),
            fast=is_fast).student for is_fast in (False, True))
    before, after = (
        torch.cat([weight.flatten() for weight in student.parameters()])
        for student in (plain, quick))
    distance = (after - before).norm() / before.norm()
    assert 0 < distance < (0.1 if bfloat16 else 1e-3)
