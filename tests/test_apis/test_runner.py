"""The Runner of a config: what it is given, and when it writes."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope

from tadfkd.apis import train
from tadfkd.apis.runner import build_optimizers, build_runner, with_epoch_loop
from tadfkd.errors import UserError


def test_a_config_can_be_used_again(tiny_config: Config) -> None:
    before = tiny_config.pretty_text
    tiny_config.train_cfg.max_epochs = 1
    train(tiny_config)
    train(tiny_config)
    tiny_config.train_cfg.max_epochs = 2
    # The seed was in the config already, and the runs have added nothing.
    assert tiny_config.pretty_text == before
    folders = [
        path.parent for path in Path(tiny_config.work_dir).glob('*/vis_data')
    ]
    assert len(folders) == 2


def test_a_network_without_schedule_is_named(tiny_config: Config) -> None:
    del tiny_config.param_scheduler['generator']
    with pytest.raises(
            UserError,
            match='param_scheduler has no generator: set '
            r'param_scheduler.generator, to \[\] for'):
        train(tiny_config)
    assert not Path(tiny_config.work_dir).exists()


def test_hooks_keep_their_priority_and_none_removes_one(
        tiny_config: Config) -> None:
    init_default_scope('tadfkd')
    model = MODELS.build(tiny_config.model)
    own = Hook()
    tiny_config.default_hooks.timer = None
    tiny_config.default_hooks.summary = None
    tiny_config.default_hooks.samples.priority = 'LOWEST'
    tiny_config.custom_hooks = [own]
    runner = build_runner(
        tiny_config,
        model=model,
        optim_wrapper=build_optimizers(tiny_config, model))
    hooks = {type(hook).__name__: hook for hook in runner.hooks}
    assert 'IterTimerHook' not in hooks and 'SummaryHook' not in hooks
    assert hooks['SampleGridHook'] is runner.hooks[-1]
    assert any(isinstance(hook, Hook) for hook in runner.hooks)


def test_only_an_implied_loop_by_epochs_is_replaced() -> None:
    assert with_epoch_loop(dict(by_epoch=True, max_epochs=2)) == dict(
        type='tadfkd.EpochLoop', max_epochs=2)
    for other in (None, dict(by_epoch=False,
                             max_iters=2), dict(type='Mine', max_epochs=2)):
        assert with_epoch_loop(other) == other
