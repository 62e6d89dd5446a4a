"""What every generator checks of its arguments."""
import pytest
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.generators import BaseGenerator


class Anything(BaseGenerator):
    """The least that makes a generator."""

    def forward(self,
                latents_BZ: Tensor,
                labels_B: Tensor | None = None) -> Tensor:
        return latents_BZ


@pytest.mark.parametrize(
    'options', [
        dict(latent_size=0),
        dict(image_channels=0),
        dict(image_size=(8, 8, 8)),
        dict(image_size='32')
    ],
    ids=str)
def test_a_bad_size_names_the_field_to_change(options: dict) -> None:
    name, = options
    with pytest.raises(UserError, match=f'set model.generator.{name}'):
        Anything(**dict(dict(latent_size=4, image_size=8), **options))
