"""Images of one run, as floats or rounded to bytes."""

import numpy as np
import pytest
import torch

from tadfkd.errors import UserError
from tadfkd.memory import ImagePool


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_bytes_round_to_the_nearest_of_256_values() -> None:
    pool = ImagePool(300, 'uint8')
    images_BCHW = torch.rand(6, 3, 4, 4)
    pool.add(images_BCHW)
    expected = np.rint(images_BCHW.double().numpy() * 255) / 255
    np.testing.assert_allclose(pool.rows(), expected, rtol=1e-6)
    assert pool.state_dict()['rows'].dtype == torch.uint8
    assert pool.sample(9, stream()).max() <= 1
    # Each of the 256 values stays the same when it is stored again.
    values = (torch.arange(256) / 255).view(-1, 1, 1, 1)
    pool = ImagePool(256, 'uint8')
    for _ in range(2):
        pool.add(pool.rows() if len(pool) else values)
        assert torch.equal(pool.rows(), values)


def test_bytes_clip_what_is_outside_of_an_image() -> None:
    pool = ImagePool(2, 'uint8')
    pool.add(torch.tensor([-0.5, 1.5]).view(2, 1, 1, 1))
    assert pool.rows().flatten().tolist() == [0, 1]


@pytest.mark.parametrize('saved, wanted', [('float32', 'uint8'),
                                           ('uint8', 'float32')])
def test_a_pool_of_the_other_dtype_is_refused(saved: str, wanted: str) -> None:
    # Bytes taken for floats are white images, floats for bytes black ones.
    pool = ImagePool(4, saved)
    pool.add(torch.rand(2, 1, 2, 2))
    with pytest.raises(
            UserError, match=f'{saved}.*model.pool.dtype.*{wanted}'):
        ImagePool(4, wanted).load_state_dict(pool.state_dict())
    # An empty pool has no dtype.
    ImagePool(4, wanted).load_state_dict(ImagePool(4, saved).state_dict())
