"""The digits of scikit-learn."""
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tadfkd.datasets import Digits
from tadfkd.errors import UserError


def images_of(dataset: Digits) -> np.ndarray:
    """All images, shape (N, H, W, 1)."""
    return np.stack([dataset[i]['img'] for i in range(len(dataset))])


def labels_of(dataset: Digits) -> np.ndarray:
    """All labels, shape (N,)."""
    return np.array([dataset[i]['gt_label'] for i in range(len(dataset))])


def test_the_splits_together_are_the_whole_data_set_once() -> None:
    assert (len(Digits('train')), len(Digits('test'))) == (1198, 599)
    # At the original size nothing is resampled: pixels of 0 to 16 are
    # stretched to 0 to 255 and can be told apart.
    splits = [Digits(split, image_size=8) for split in ('train', 'test')]
    found_NP = np.concatenate([images_of(split)
                               for split in splits]).reshape(-1, 64)
    found_N = np.concatenate([labels_of(split) for split in splits])
    pixels_NP, labels_N = load_digits(return_X_y=True)
    expected_NP = np.floor(pixels_NP * 255 / 16)

    def sorted_rows(pixels_NP: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        rows = np.column_stack((pixels_NP, labels_N)).astype(int)
        return rows[np.lexsort(rows.T)]

    np.testing.assert_array_equal(
        sorted_rows(found_NP, found_N), sorted_rows(expected_NP, labels_N))


def test_the_test_split_is_stratified() -> None:
    test_K = np.bincount(labels_of(Digits('test')), minlength=10)
    all_K = np.bincount(load_digits().target, minlength=10)
    np.testing.assert_allclose(test_K, all_K / 3, atol=1)


@pytest.mark.parametrize('size', [8, 16, 21])
def test_images_are_grey_uint8_of_the_size_asked_for(size: int) -> None:
    images_NHWC = images_of(Digits('test', image_size=size))
    assert images_NHWC.shape == (599, size, size, 1)
    assert images_NHWC.dtype == np.uint8
    # The full range is used: 16 becomes 255.
    assert images_NHWC.min() == 0
    assert images_NHWC.max() == 255


@pytest.mark.parametrize('split', ['val', None])
def test_an_unknown_split_is_a_user_error(split: object) -> None:
    with pytest.raises(UserError, match="'train' or 'test', got"):
        Digits(split)
