"""The order of numbers in memory changes how fast, and not what."""
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from tadfkd.algorithms import TADFKD
from tadfkd.apis import load_config
from tadfkd.engine import PerNetworkConstructor
from tadfkd.registry import MODELS

DIGITS = Path(__file__).resolve().parents[2] / 'configs' / 'tadfkd' / \
    'resnet18w16_to_resnet18w8_digits.py'
# Not narrower: see channels_last of DistillationNetworks.
WIDE = {
    'model.student.backbone.base_channels': 16,
    'model.student.backbone.stem_channels': 16,
    'model.student.head.in_channels': 128,
    'model.generator.width': 16,
    'model.batch_size': 16,
}


def trained(channels_last: bool) -> tuple[TADFKD, dict[str, Tensor]]:
    """A model after one step of each kind, and the losses."""
    options: dict[str, Any] = WIDE | {
        'model.teacher.checkpoint': None,
        'model.teacher.allow_random_weights': True,
        'model.num_student_steps': 1
    }
    config = load_config(DIGITS, options)
    if channels_last:
        config.model.channels_last = True
    init_default_scope('tadfkd')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS.build(config.model).train()
    wrappers = PerNetworkConstructor({
        name:
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-2))
        for name in model.trained_networks
    })(
        model)
    return model, model.train_step(None, wrappers)


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    """Those that have more than one channel and pixel, so have an order."""
    return [
        layer for layer in model.modules() if isinstance(layer, nn.Conv2d)
        and layer.in_channels > 1 and layer.kernel_size != (1, 1)
    ]


def test_it_changes_results_by_rounding_only() -> None:
    (plain, plain_losses), (model, losses) = trained(False), trained(True)
    for network in (model.teacher, model.student, model.generator):
        layers = convolutions(network)
        assert layers
        for layer in layers:
            assert layer.weight.is_contiguous(
                memory_format=torch.channels_last)
            assert not layer.weight.is_contiguous()
    assert all(layer.weight.is_contiguous() for layer in convolutions(plain))
    assert losses.keys() == plain_losses.keys()
    for name, loss in losses.items():
        torch.testing.assert_close(
            loss, plain_losses[name], rtol=1e-3, atol=1e-4)


def test_loaded_weights_keep_the_order() -> None:
    (plain, _), (model, _) = trained(False), trained(True)
    model.load_state_dict(plain.state_dict())
    for layer in convolutions(model.student):
        assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    images_BCHW = torch.rand(4, 1, 16, 16)
    torch.testing.assert_close(
        model.eval()(images_BCHW),
        plain.eval()(images_BCHW),
        rtol=1e-3,
        atol=1e-4)
