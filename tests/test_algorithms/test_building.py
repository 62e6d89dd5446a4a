"""A part of the wrong kind is refused when it is built, not in training."""
from typing import Any

import pytest
from algorithm_helpers import make_algorithm

from tadfkd.errors import UserError

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
        ('SpaceshipNet', 'generator', PIXELS, 'feature_layers and encode'),
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
