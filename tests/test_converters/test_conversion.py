"""Public checkpoints are converted, loaded as teachers and compared."""
import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from public_networks import BlockVGG, PublicResNet, PublicWideResNet
from torch import nn

from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.classifiers.build import build_classifier
from tadfkd.converters import convert
from tadfkd.errors import UserError
from tadfkd.teachers import MMPretrainTeacher

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 70.0]


def converted(network: nn.Module, folder: Path, **options: Any) -> Path:
    """Save and convert a network; the new checkpoint."""
    torch.save(network.state_dict(), folder / 'public.pth')
    channels = next(network.parameters()).shape[1]
    convert(folder / 'public.pth', folder / 'new.pth', MEAN[:channels],
            STD[:channels], **options)
    return folder / 'new.pth'


@torch.no_grad()
def compare(network: nn.Module,
            checkpoint: Path,
            image_size: int = 32) -> MMPretrainTeacher:
    """Logits of the source and of the teacher that a user would build."""
    teacher = MMPretrainTeacher(
        str(checkpoint.with_suffix('.py')), checkpoint=str(checkpoint))
    channels = next(network.parameters()).shape[1]
    images = torch.rand(
        3, channels, image_size, image_size, dtype=torch.float64)
    mean = torch.tensor(MEAN[:channels]).view(-1, 1, 1)
    std = torch.tensor(STD[:channels]).view(-1, 1, 1)
    expected = copy.deepcopy(network).double()((255 * images - mean) / std)
    adapter, teacher = teacher.input_adapter, teacher.double()
    # The adapter's buffers were rounded to float32.
    adapter.mean, adapter.std = mean.double() / 255, std.double() / 255
    logits = teacher(images).logits_BK
    assert expected.std(0).min() > 0
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    return teacher


def test_the_teacher_has_the_sources_logits(public_network: tuple[str,
                                                                  nn.Module],
                                            tmp_path: Path) -> None:
    name, network = public_network
    checkpoint = converted(network, tmp_path)
    compare(network, checkpoint)
    meta = torch.load(checkpoint, weights_only=True)['meta']
    assert name.startswith(meta['architecture'])
    assert meta['source'] == 'public.pth'


def test_a_vgg_of_blocks_pools_by_the_image_size_it_is_for(
        tmp_path: Path) -> None:
    network = BlockVGG()
    compare(network, converted(network, tmp_path, image_size=64), 64)


def test_the_checkpoint_is_complete_and_float32(tmp_path: Path) -> None:
    network = PublicResNet()
    weights = {
        f'module.{key}': value.half()
        for key, value in network.state_dict().items()
        if not key.endswith('num_batches_tracked')
    }
    torch.save(dict(net=weights, acc=95.0, epoch=3), tmp_path / 'old.pth')
    convert(tmp_path / 'old.pth', tmp_path / 'new.pth', MEAN, STD)
    state = read_checkpoint(tmp_path / 'new.pth')['state_dict']
    model = Config.fromfile(tmp_path / 'new.py').model
    assert state.keys() == build_classifier(model).state_dict().keys()
    assert {value.dtype
            for value in state.values()} == {torch.float32, torch.int64}
    assert torch.equal(state['head.fc.weight'],
                       weights['module.linear.weight'].float())
    network.half().float()
    compare(network, tmp_path / 'new.pth')


def test_the_config_needs_nothing_but_itself(tmp_path: Path) -> None:
    checkpoint = converted(PublicWideResNet(num_classes=4), tmp_path)
    config = Config.fromfile(checkpoint.with_suffix('.py'))
    assert config.custom_imports.imports == ['tadfkd.backbones']
    assert config.model.data_preprocessor == dict(
        mean=MEAN, std=STD, to_rgb=False)
    assert config.model.head.num_classes == 4


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_network_that_is_not_finite_is_refused(value: float,
                                                 tmp_path: Path) -> None:
    network = PublicResNet()
    nn.init.constant_(network.linear.bias, value)
    with pytest.raises(UserError, match='linear.bias that is not finite'):
        converted(network, tmp_path)


@pytest.mark.parametrize('mean, std, message', [
    (MEAN[:1], STD, r'mean must be 3 numbers, .*, got \[120.0\]'),
    (MEAN, [60.0, math.nan, 60.0], 'std must be 3 numbers'),
    ([0.49, 0.48, 0.45], [0.2, 0.2, 0.2], r'units of \[0, 255\]'),
])
def test_statistics_that_cannot_be_are_refused(mean: list[float],
                                               std: list[float], message: str,
                                               tmp_path: Path) -> None:
    torch.save(PublicWideResNet().state_dict(), tmp_path / 'public.pth')
    with pytest.raises(UserError, match=message):
        convert(tmp_path / 'public.pth', tmp_path / 'new.pth', mean, std)
    assert len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize('name', ['new.pth', 'public.pth', 'new.py'])
def test_files_that_exist_are_not_overwritten(name: str,
                                              tmp_path: Path) -> None:
    torch.save(PublicWideResNet().state_dict(), tmp_path / 'public.pth')
    (tmp_path / 'new.pth').write_text('mine')
    before = (tmp_path / 'public.pth').read_bytes()
    with pytest.raises(UserError, match=f'{name} exists'):
        convert(tmp_path / 'public.pth', tmp_path / name, MEAN, STD)
    assert (tmp_path / 'new.pth').read_text() == 'mine'
    assert (tmp_path / 'public.pth').read_bytes() == before
