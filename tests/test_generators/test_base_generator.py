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


@pytest.mark.parametrize('given, size', [(7, (7, 7)), ((3, 5), (3, 5)),
                                         ([3, 5], (3, 5))])
def test_one_number_stands_for_height_and_width(given: object,
                                                size: tuple[int, int]) -> None:
    # A config file that was dumped and read again has lists for tuples.
    assert Anything(4, given).image_size == size


@pytest.mark.parametrize('size', [(8, 8, 8), (8, ),
                                  (8.0, 8), '32', 32.0, None])
def test_a_size_that_is_not_whole_numbers_is_refused(size: object) -> None:
    with pytest.raises(UserError) as caught:
        Anything(4, size)
    assert f'got {size!r}' in str(caught.value)
    assert 'set model.generator.image_size' in str(caught.value)


@pytest.mark.parametrize(
    'options', [
        dict(latent_size=0),
        dict(latent_size=2.5),
        dict(image_channels=0),
        dict(image_channels='3')
    ],
    ids=str)
def test_a_bad_count_names_the_field_to_change(options: dict) -> None:
    name, = options
    with pytest.raises(UserError, match=f'set model.generator.{name}'):
        Anything(**dict(dict(latent_size=4, image_size=8), **options))
