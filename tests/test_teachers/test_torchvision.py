"""Teachers from torchvision."""
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from tadfkd.teachers import TorchvisionTeacher

#: Quick, with batch norm.
SMALL = 'shufflenet_v2_x0_5'
TEN = dict(num_classes=10)
FIELDS = dict(mean=[127.5], std=[63.75], input_size=32)


def random_teacher(model: str = SMALL, **options: Any) -> TorchvisionTeacher:
    """A teacher without checkpoint."""
    return TorchvisionTeacher(model, allow_random_weights=True, **options)


def test_torchvision_tells_how_its_own_weights_were_trained() -> None:
    facts = random_teacher('squeezenet1_1').facts
    source = "torchvision's SqueezeNet1_1_Weights.IMAGENET1K_V1"
    np.testing.assert_allclose(facts['mean'].value, [123.675, 116.28, 103.53])
    np.testing.assert_allclose(facts['std'].value, [58.395, 57.12, 57.375])
    assert facts['input_size'] == ((224, 224), source)
    assert facts['mean'].source == facts['std'].source == source
    assert facts['num_classes'].value == 1000


def test_the_answer_is_that_of_torchvisions_network(tmp_path: Path) -> None:
    network = torchvision.models.get_model(SMALL, **TEN).eval()
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    # The class count is that of the checkpoint.
    teacher = TorchvisionTeacher(SMALL, checkpoint=str(path), **FIELDS)
    images_BCHW = torch.rand(2, 3, 32, 32)
    output = teacher(images_BCHW, with_bn=True, with_features=True)
    torch.testing.assert_close(output.logits_BK,
                               network((images_BCHW - 0.5) / 0.25))
    torch.testing.assert_close(
        network.fc(output.features_BF), output.logits_BK)
    norms = [
        layer for layer in network.modules()
        if isinstance(layer, torch.nn.BatchNorm2d)
    ]
    assert len(output.bn_statistics) == len(norms) == len(teacher.bn_layers)


def test_googlenet_normalises_once_more_where_the_weights_are_torchvisions(
) -> None:
    # Its ImageNet weights are TensorFlow's: torchvision builds the network
    # with transform_input=True for them, and only for them.
    quick = dict(init_weights=False)
    assert random_teacher(
        'googlenet', input_size=64, arguments=quick).network.transform_input
    assert not random_teacher(
        'googlenet', arguments=quick | TEN, **FIELDS).network.transform_input
