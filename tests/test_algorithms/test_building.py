"""A part of the wrong kind is refused when it is built, not in training."""
import copy
from typing import Any

import pytest
import torch
from algorithm_helpers import make_algorithm, tiny_teacher
from tiny_networks import classifier

from tadfkd.errors import UserError
from tadfkd.registry import MODELS

PLAIN = dict(
    type='UpsamplingGenerator',
    latent_size=6,
    width=4,
    image_size=16,
    image_channels=1)
PIXELS = dict(
    type='PixelGenerator', batch_size=8, image_size=16, image_channels=1)


@pytest.mark.parametrize(
    'algorithm, field, config, message',
    [
        ('NAYER', 'generator', PLAIN,
         'NAYER needs a generator with reset_noise and draw_noise, as '
         'LabelEmbeddingGenerator has, got UpsamplingGenerator: set '
         'model.generator.type'),
        ('SpaceshipNet', 'generator', PIXELS, 'feature_layers and upsample'),
        ('TADFKD', 'generator', dict(type='L1Loss'),
         'generator must be of type BaseGenerator, got L1Loss'),
        ('TADFKD', 'teacher', PLAIN,
         'teacher must be of type BaseTeacher, got UpsamplingGenerator'),
        ('PREDFKD', 'replay', PLAIN, 'replay must be of type BaseReplay'),
        ('DFAD', 'augment', dict(type='OneHotLoss'), 'model.augment fails on'),
        # Losses of another kind.
        ('TADFKD', 'image_losses', dict(l2=dict(type='L1Loss')),
         'image_losses.l2 must be of type ImageLoss, got L1Loss'),
    ])
def test_a_part_of_another_kind_is_refused(algorithm: str, field: str,
                                           config: dict[str, Any],
                                           message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_algorithm(algorithm, **{field: config})
    assert '\n' not in str(caught.value)
    assert f'set model.{field}' in str(caught.value) or field == 'augment'


GREY = dict(mean=[77.7], std=[81.2])
RGB = dict(mean=[125.3, 123.0, 113.9], std=[51.6, 60.8, 70.7])


@pytest.mark.parametrize('head', ['batch_norm', 'tanh_batch_norm'])
@pytest.mark.parametrize('channels, preprocessor, order', [(1, GREY, 'rgb'),
                                                           (3, RGB, 'rgb'),
                                                           (3, RGB, 'bgr')])
def test_the_teacher_sees_what_the_batch_norm_of_the_head_makes(
        channels: int, preprocessor: dict[str, Any], order: str,
        head: str) -> None:
    network = classifier(5, channels) | dict(data_preprocessor=preprocessor)
    config = dict(
        type='UpsamplingGenerator',
        latent_size=6,
        width=4,
        image_size=8,
        image_channels=channels,
        head=head)
    model = make_algorithm(
        'DAFL',
        teacher=tiny_teacher(network) | dict(channel_order=order),
        student=classifier(5, channels),
        generator=config)
    made = []
    model.generator.head.norm.register_forward_hook(
        lambda *args: made.append(args[-1]))
    latents_BZ = torch.randn(64, 6)
    seen_BCHW = model.teacher.input_adapter(model.generator(latents_BZ))
    made_BCHW = made[0].flip(1) if order == 'bgr' else made[0]
    torch.testing.assert_close(seen_BCHW, made_BCHW, rtol=1e-4, atol=1e-5)
    # Nothing is clipped on the way.
    variance_C, mean_C = torch.var_mean(seen_BCHW, (0, 2, 3), correction=0)
    assert mean_C.abs().max() < 1e-4
    assert (variance_C - 1).abs().max() < 1e-2
    # A saved generator is complete without the teacher.
    alone = MODELS.build(config)
    alone.load_state_dict(copy.deepcopy(model.generator.state_dict()))
    assert alone.eval()(latents_BZ).equal(model.generator.eval()(latents_BZ))
