"""Settings that are fast on this machine."""
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from algorithm_helpers import (ALGORITHMS, make_algorithm, optimisers,
                               real_batch)

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
    assert config.model.pad_to == config.model.batch_size // 8
    assert config.model.get('small_map_gradients', False) == bfloat16
    assert 'compile' not in config.model
    for network in 'student', 'generator':
        wrapper = config.optim_wrapper[network]
        assert wrapper.optimizer.fused
        assert (wrapper.type == 'tadfkd.AutocastOptimWrapper') == bfloat16
    model = SimpleNamespace(
        unsafe_channels_last=None,
        teacher=SimpleNamespace(lean=None, pad_to=1),
        compiled_with=False)
    line = fast.fast_settings(config, model)
    assert line.startswith(f'computes with: {dtype}')
    by_products = 'gradients of small maps by matrix products, ' \
        if bfloat16 else ''
    assert line.endswith(f'channels last, {by_products}fused optimisers')
    model.teacher.pad_to = 8
    assert 'batches padded to multiples of 8, fused' in fast.fast_settings(
        config, model)
    assert ('no bfloat16 instructions' in line) != bfloat16
    model.unsafe_channels_last = 'conv of the student'
    model.teacher.lean = object()
    assert 'backward pass of conv of the student), a lean copy' in \
        fast.fast_settings(config, model)


def test_batches_of_a_fixed_size_are_not_padded() -> None:
    # Its syntheses have 130 images.
    config = load_config(
        'tadfkd::agnostic/resnet18w16_to_resnet18w8_digits.py', fast=True)
    assert config.model.synthesis_batch_size == 130
    assert 'pad_to' not in config.model


def test_a_plain_run_has_no_such_line(digits_config: str) -> None:
    model = SimpleNamespace(
        unsafe_channels_last=None,
        teacher=SimpleNamespace(lean=None, pad_to=1),
        compiled_with=False)
    assert fast.fast_settings(load_config(digits_config), model) is None


@pytest.mark.parametrize('option', [{
    'train_cfg.max_epochs': 'ten'
}, {
    'train_dataloader.dataset.num_steps': None
}, {
    'model.num_student_steps': None
}])
def test_a_length_that_is_no_number_is_not_compiled(
        digits_config: str, option: dict[str, Any]) -> None:
    plain = load_config(digits_config)
    plain.merge_from_dict(option)
    assert fast.student_steps(plain) == 0


def test_an_optimiser_that_cannot_be_fused_is_not(digits_config: str) -> None:
    config = load_config(
        digits_config, {'optim_wrapper.student.optimizer.foreach': True},
        fast=True)
    assert 'fused' not in config.optim_wrapper.student.optimizer


# Features and maps are read from the network, not from its copy.
@pytest.mark.parametrize('type', ALGORITHMS)
def test_every_algorithm_trains_with_the_fast_settings(type: str) -> None:
    model = make_algorithm(
        type,
        lean_teacher='float32',
        channels_last=True,
        pad_to=3,
        small_map_gradients=True)
    assert model.teacher.pad_to == 3
    # The helper has given the teacher other statistics since.
    model.teacher.make_lean(torch.float32)
    assert model.teacher.lean is not None
    model.train_step(real_batch(), optimisers(model))


def test_a_run_that_was_begun_plain_can_become_fast(
        digits_config: str, tiny_options: dict[str, Any], tmp_path: Any,
        monkeypatch: pytest.MonkeyPatch) -> None:
    # In bfloat16, rounding alone changes more than the limit below.
    monkeypatch.setattr('tadfkd.apis.config.has_bfloat16', lambda: False)
    students = []
    for name, fasts in dict(
            changed=(False, True), plain=(False, False)).items():
        for epochs, is_fast in enumerate(fasts, 1):
            run = distill(
                digits_config,
                options=tiny_options | {
                    'model.student.backbone.base_channels': 16,
                    'model.student.backbone.stem_channels': 16,
                    'model.student.head.in_channels': 128,
                    'train_cfg.max_epochs': epochs
                },
                work_dir=str(tmp_path / name),
                resume=epochs > 1,
                fast=is_fast)
        students.append(
            torch.cat([one.flatten() for one in run.student.parameters()]))
    changed, plain = students
    # Rounding grows in each step. A mixed-up state differs by much more.
    assert (changed - plain).norm() < 0.01 * plain.norm()


def test_a_long_run_is_compiled_if_there_is_a_compiler(
        digits_config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = {'train_cfg.max_epochs': 100_000}
    assert load_config(digits_config, long, fast=True).model.compile
    monkeypatch.setattr(fast.shutil, 'which', lambda name: None)
    assert 'compile' not in load_config(digits_config, long, fast=True).model


def test_what_a_config_sets_stays(digits_config: str,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    # Not there before torch 2.8.
    monkeypatch.setattr(
        torch.cpu,
        'get_capabilities',
        lambda: dict(amx_bf16=True),
        raising=False)
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
