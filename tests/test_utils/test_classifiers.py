"""Classifiers: found by name or path, fed with what they were trained on."""
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from tadfkd.utils.classifiers import (InputAdapter, build_classifier,
                                      classifier_logits, find_classifier,
                                      with_predictions,
                                      without_pretrained_weights)
from tadfkd.utils.errors import UserError

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
TINY = dict(
    type='ImageClassifier',
    backbone=dict(type='LeNet5', num_classes=4),
    neck=None,
    head=dict(type='ClsHead'),
    data_preprocessor=dict(
        type='ClsDataPreprocessor', mean=[51.0], std=[25.5], num_classes=4))


def test_pixels_are_normalised_in_units_of_0_to_255() -> None:
    images_BCHW = torch.rand(2, 3, 2, 2)
    inputs_BCHW = InputAdapter(MEAN, STD)(images_BCHW)
    for channel in range(3):
        for pixel, found in zip(images_BCHW[:, channel].flatten().tolist(),
                                inputs_BCHW[:, channel].flatten().tolist()):
            assert found == pytest.approx(
                (255 * pixel - MEAN[channel]) / STD[channel], abs=1e-5)


def test_bgr_networks_get_their_channels_and_statistics_in_that_order(
) -> None:
    # Red 1, green 0.5, blue 0; the mean is given in the network's order.
    image = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    adapter = InputAdapter([0.0, 51.0, 102.0], [255.0, 127.5, 51.0], 'bgr')
    assert adapter(image).flatten().tolist() == pytest.approx(
        [0.0, (127.5 - 51) / 127.5, (255 - 102) / 51])


def test_one_channel_is_normalised_by_one_mean() -> None:
    adapter = InputAdapter([51.0], [25.5])
    torch.testing.assert_close(
        adapter(torch.tensor([0.0, 0.2, 1.0]).view(3, 1, 1, 1)).flatten(),
        torch.tensor([-2.0, 0.0, 8.0]))


def test_shrinking_averages_and_keeps_the_gradient() -> None:
    images_BCHW = torch.rand(2, 3, 8, 8, requires_grad=True)
    adapter = InputAdapter([0.0], [255.0], input_size=(4, 2))
    inputs_BCHW = adapter(images_BCHW)
    assert inputs_BCHW.shape == (2, 3, 4, 2)
    # Without antialiasing most pixels would have no say.
    weights_BCHW = torch.randn(2, 3, 4, 2)
    gradient_BCHW, = torch.autograd.grad((inputs_BCHW * weights_BCHW).sum(),
                                         images_BCHW)
    assert (gradient_BCHW != 0).all()
    # A linear map: the slope along the images is its value there.
    torch.testing.assert_close((gradient_BCHW * images_BCHW).sum(),
                               (inputs_BCHW * weights_BCHW).sum())
    # Of which every row of weights sums to 1.
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


def test_an_unknown_channel_order_is_refused() -> None:
    with pytest.raises(UserError, match="got 'RGB': set channel_order"):
        InputAdapter(MEAN, STD, 'RGB')


def test_the_adapter_adds_nothing_to_a_state_dict() -> None:
    adapter = InputAdapter(MEAN, STD)
    assert not adapter.state_dict()
    assert adapter.to(torch.float64).mean.dtype == torch.float64


def test_the_adapter_of_a_classifier_does_what_its_preprocessor_does() -> None:
    network = build_classifier(TINY)
    images_BCHW = torch.rand(3, 1, 32, 32)
    expected = network.data_preprocessor(
        dict(inputs=[255 * image for image in images_BCHW]))['inputs']
    torch.testing.assert_close(
        InputAdapter.of(network)(images_BCHW), expected, rtol=0, atol=1e-5)


def test_without_statistics_a_classifier_gets_pixels_up_to_255() -> None:
    network = build_classifier(
        dict(TINY, data_preprocessor=dict(type='ClsDataPreprocessor')))
    images_BCHW = torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(
        InputAdapter.of(network)(images_BCHW), 255 * images_BCHW)


def test_a_model_dict_is_returned_as_a_copy() -> None:
    given = ConfigDict(type='X', head=dict(channels=[1, 2]))
    found, config = find_classifier(given, 'model.teacher.network')
    assert found == given and config is None
    found['head']['channels'].append(3)
    assert given.head.channels == [1, 2]


def test_a_config_file_is_read_with_its_preprocessor(tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text('model = dict(type="ImageClassifier")\n'
                    'data_preprocessor = dict(mean=[1, 2, 3])\n'
                    'other = 5\n')
    for name in (path, str(path)):
        found, config = find_classifier(name, 'model.teacher.network')
        assert found == dict(
            type='ImageClassifier', data_preprocessor=dict(mean=[1, 2, 3]))
        assert config is not None and config.other == 5


def test_the_models_own_preprocessor_wins(tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text('model = dict(type="X", data_preprocessor=dict(mean=1))\n'
                    'data_preprocessor = dict(mean=2)\n')
    found, _ = find_classifier(path, 'model.teacher.network')
    assert found['data_preprocessor'] == dict(mean=1)


def test_a_name_of_the_zoo_is_found() -> None:
    found, config = find_classifier('resnet18_8xb16_cifar10', 'model.student')
    assert found['backbone']['type'] == 'ResNet_CIFAR'
    assert found['data_preprocessor']['num_classes'] == 10
    assert config is not None and 'model' in config


@pytest.mark.parametrize('model, problem', [
    ('resnet18_8xb16_cifar11', "did you mean 'resnet18_8xb16_cifar10'?"),
    ('no/such/config.py', 'does not exist'),
    (18, 'got 18'),
    (None, 'got None'),
    (['resnet18_8xb16_cifar10'], 'a zoo name, a config path or a model dict'),
    ('mmpretrain::resnet/no_such_config.py', 'no_such_config.py'),
])
def test_a_classifier_that_is_not_there_names_the_field(
        model: object, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        find_classifier(model, 'model.teacher.network')
    assert 'model.teacher.network' in str(caught.value)
    assert problem in str(caught.value)


def test_a_config_without_a_model_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / 'dataset.py'
    path.write_text('dataset_type = "CIFAR10"\n')
    with pytest.raises(UserError, match='model.teacher.network'):
        find_classifier(path, 'model.teacher.network')


def test_pretrained_weights_are_left_out_at_any_depth() -> None:
    pretrained = dict(type='Pretrained', checkpoint='https://somewhere')
    kaiming = dict(type='Kaiming')
    given = dict(
        init_cfg=pretrained,
        backbone=dict(
            init_cfg=kaiming, stages=[dict(init_cfg=pretrained, depth=1)]),
        heads=(dict(init_cfg=pretrained), 'text'),
        other=pretrained)
    assert without_pretrained_weights(given) == dict(
        backbone=dict(init_cfg=kaiming, stages=[dict(depth=1)]),
        heads=({}, 'text'),
        other=pretrained)
    assert given['init_cfg'] is pretrained


class Returns(nn.Module):
    """A network that returns what it was made with."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, inputs: Tensor, mode: str) -> object:
        assert mode == 'tensor'
        return self.output


def test_logits_are_handed_on() -> None:
    logits_BK = torch.randn(2, 5)
    assert classifier_logits(Returns(logits_BK), torch.rand(2, 3, 4, 4)) \
        is logits_BK


@pytest.mark.parametrize('output, shown', [
    (torch.zeros(2, 5, 7, 7), '(2, 5, 7, 7)'),
    ((torch.zeros(2, 5), ), 'got tuple'),
    (None, 'got NoneType'),
])
def test_anything_but_logits_is_refused(output: object, shown: str) -> None:
    with pytest.raises(UserError) as caught:
        classifier_logits(Returns(output), torch.rand(2, 3, 4, 4))
    assert shown in str(caught.value) and 'Returns' in str(caught.value)


def test_predictions_are_the_softmax_and_its_argmax() -> None:
    logits_BK = torch.tensor([[0.0, 0.0, 2.0], [3.0, 0.0, 0.0]]).bfloat16()
    samples = with_predictions(logits_BK, None)
    assert [sample.pred_label.item() for sample in samples] == [2, 0]
    for sample, row_K in zip(samples, logits_BK.float()):
        assert sample.pred_score.dtype == torch.float32
        torch.testing.assert_close(sample.pred_score,
                                   row_K.exp() / row_K.exp().sum())


def test_predictions_join_the_labels_that_are_there() -> None:
    from mmpretrain.structures import DataSample
    given = [DataSample().set_gt_label(label) for label in (1, 0)]
    samples = with_predictions(torch.eye(2), given)
    assert [sample.gt_label.item() for sample in samples] == [1, 0]
    assert [sample.pred_label.item() for sample in samples] == [0, 1]
    assert samples[0] is given[0]
