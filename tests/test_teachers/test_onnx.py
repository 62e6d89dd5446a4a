"""Teachers in ONNX files."""
import warnings
from pathlib import Path

import pytest
import torch
from tiny_networks import convolutional

from tadfkd.errors import UserError
from tadfkd.teachers import ONNXTeacher

FIELDS = dict(mean=[127.5] * 3, std=[63.75] * 3)


def write(network: torch.nn.Module, path: Path, **options: object) -> str:
    """An ONNX file of a network for images of 12x12."""
    pytest.importorskip('onnx2pytorch', reason='onnx2pytorch is missing')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        # torch's older exporter takes a tenth of the time of the newer one.
        torch.onnx.export(
            network.eval(), (torch.rand(2, 3, 12, 12), ),
            path,
            dynamo=False,
            input_names=['images'],
            **options)
    return str(path)


def test_a_file_answers_as_its_network_and_gradients_reach_the_image(
        tmp_path: Path) -> None:
    network = convolutional()
    path = write(
        network, tmp_path / 'net.onnx', dynamic_axes=dict(images={0: 'batch'}))
    teacher = ONNXTeacher(path, **FIELDS)
    assert teacher.facts['input_size'] == ((12, 12), 'the ONNX file')
    assert teacher.num_classes == 5
    images_BCHW = torch.rand(3, 3, 12, 12, requires_grad=True)
    logits_BK = teacher(images_BCHW).logits_BK
    expected_BK = network((images_BCHW - 0.5) / 0.25)
    torch.testing.assert_close(logits_BK, expected_BK)
    torch.testing.assert_close(
        *(torch.autograd.grad(logits[:, 1].sum(), images_BCHW)[0]
          for logits in (logits_BK, expected_BK)))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='does not exist'):
        ONNXTeacher(str(tmp_path / 'nowhere.onnx'), **FIELDS)
    path = write(convolutional(), tmp_path / 'two.onnx')
    with pytest.raises(UserError, match='takes 2 images at a time'):
        ONNXTeacher(path, **FIELDS)
    Path(path).write_bytes(b'no ONNX')
    with pytest.raises(UserError, match='cannot be converted to PyTorch'):
        ONNXTeacher(path, **FIELDS)
