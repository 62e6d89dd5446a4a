"""A part of the wrong kind is told when it is built, not in training."""
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


@pytest.mark.parametrize('algorithm, changes, message', [
    ('NAYER', dict(generator=PLAIN),
     'NAYER needs a generator with reset_noise and draw_noise, as '
     'LabelEmbeddingGenerator has, got UpsamplingGenerator: set '
     'model.generator.type'),
    ('SpaceshipNet', dict(generator=PIXELS), 'feature_layers and encode'),
    ('FastDFKD', dict(generator=PIXELS, reset_iteration=3),
     'FastDFKD needs a generator with project'),
    ('TADFKD', dict(generator=dict(type='L1Loss')),
     'generator must be a BaseGenerator, got L1Loss'),
    ('TADFKD', dict(teacher=PLAIN),
     'teacher must be a BaseTeacher, got UpsamplingGenerator'),
    ('TADFKD', dict(image_losses=dict(l2=dict(type='L1Loss'))),
     'model.image_losses.l2 fails on an example .*teacher_BK'),
    ('TADFKD', dict(image_losses=dict(l2=[])),
     'image_losses.l2 must be a loss that gives one number, got Sequential'),
    ('DFAD', dict(student_loss=dict(type='ClassPrior')),
     'model.student_loss fails on an example'),
    ('DFAD', dict(augment=dict(type='OneHotLoss')),
     'model.augment fails on blank images'),
    ('DAFL', dict(class_prior=dict(type='ImageL2Loss')),
     'model.class_prior fails on an example'),
    ('PREDFKD', dict(replay=PLAIN), 'replay must be a BaseReplay'),
    ('CMI', dict(contrastive_loss=dict(type='TotalVariationLoss')),
     'model.contrastive_loss fails on an example'),
])
def test_a_part_of_another_kind_is_refused(algorithm: str, changes: dict[str,
                                                                         Any],
                                           message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make_algorithm(algorithm, **changes)
    assert '\n' not in str(caught.value)
