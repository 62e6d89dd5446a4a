"""The input of a classifier."""
import pytest
import torch

from tadfkd.classifiers.input_adapter import InputAdapter
from tadfkd.errors import UserError

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def test_bgr_networks_get_their_channels_and_statistics_in_that_order(
) -> None:
    # Red 1, green 0.5, blue 0; the mean is given in the network's order.
    image = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    adapter = InputAdapter([0.0, 51.0, 102.0], [255.0, 127.5, 51.0], 'bgr')
    assert adapter(image).flatten().tolist() == pytest.approx(
        [0.0, (127.5 - 51) / 127.5, (255 - 102) / 51])


def test_shrinking_averages_and_keeps_the_gradient() -> None:
    images_BCHW = torch.rand(2, 3, 8, 8, requires_grad=True)
    adapter = InputAdapter([0.0], [255.0], input_size=(4, 2))
    inputs_BCHW = adapter(images_BCHW)
    assert inputs_BCHW.shape == (2, 3, 4, 2)
    # Without antialiasing, most pixels would have no effect.
    weights_BCHW = torch.randn(2, 3, 4, 2)
    gradient_BCHW, = torch.autograd.grad((inputs_BCHW * weights_BCHW).sum(),
                                         images_BCHW)
    assert (gradient_BCHW != 0).all()
    # A linear map: the slope along the images is its value there.
    torch.testing.assert_close((gradient_BCHW * images_BCHW).sum(),
                               (inputs_BCHW * weights_BCHW).sum())
    # The weights of each output pixel sum to 1.
    torch.testing.assert_close(
        adapter(torch.full((1, 3, 8, 8), 0.3)), torch.full((1, 3, 4, 2), 0.3))


def test_images_of_the_right_size_are_not_resampled() -> None:
    images_BCHW = torch.rand(2, 1, 5, 7)
    adapter = InputAdapter([0.0], [255.0], input_size=(5, 7))
    assert torch.equal(adapter(images_BCHW), images_BCHW)
    # Height and width in this order.
    assert not torch.equal(
        InputAdapter([0.0], [255.0], input_size=(7, 5))(images_BCHW).flatten(),
        images_BCHW.flatten())


def test_a_grey_image_becomes_three_channels_only_if_allowed() -> None:
    grey_BCHW = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(
        InputAdapter(MEAN, STD, grey_to_rgb=True)(grey_BCHW),
        InputAdapter(MEAN, STD)(grey_BCHW.repeat(1, 3, 1, 1)))
    with pytest.raises(UserError, match='for 3 channels, got images of 1'):
        InputAdapter(MEAN, STD)(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize('std', [0.0, -1.0, float('nan')])
def test_a_deviation_that_is_not_above_zero_is_refused(std: float) -> None:
    with pytest.raises(UserError, match='std must be one finite number > 0'):
        InputAdapter([1.0, 1.0], [1.0, std])
