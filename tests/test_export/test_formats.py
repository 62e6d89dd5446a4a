"""Each format, read by its own library."""
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tadfkd.errors import UserError
from tadfkd.export import FORMAT_NAMES
from tadfkd.export.formats import require_packages


@pytest.mark.parametrize(
    'name', [name for name in FORMAT_NAMES if name != 'onnx-int8'])
def test_a_library_gives_the_logits_of_the_student_for_any_batch(
        name: str, foreign_logits: dict[str, Any],
        expected_BK: Tensor) -> None:
    for batch, expected in (('five', expected_BK), ('one', expected_BK[:1])):
        found = torch.tensor(foreign_logits[batch][name])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.argmax(1), expected.argmax(1))


def test_int8_weights_answer_nearly_alike(run_dir: Path) -> None:
    import onnx
    folder = run_dir / 'student'
    parity = json.loads((folder / 'config.json').read_text())['parity']
    assert 0 < parity['onnx-int8']['largest_difference']
    assert parity['onnx-int8']['same_class_share'] >= 0.9
    types = {
        weight.data_type
        for weight in onnx.load(folder / 'student.int8.onnx').graph.initializer
        if len(weight.dims) == 4
    }
    assert types == {onnx.TensorProto.INT8}


def test_a_missing_package_is_named_with_its_command(
        monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages('onnx')
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None
        if name == 'onnxscript' else find_spec(name))
    with pytest.raises(
            UserError,
            match=r'onnx needs onnxscript: run `pip install "tadfkd\[onnx\]"`'
    ):
        require_packages('onnx')
    require_packages('torchscript')


def test_mmpretrain_classifies_an_image_file(run_dir: Path,
                                             tmp_path: Path) -> None:
    from mmpretrain import ImageClassificationInferencer
    from PIL import Image

    from tadfkd.export import predict
    pixels = torch.rand(16, 16, generator=torch.Generator().manual_seed(2))
    path = tmp_path / 'image.png'
    Image.fromarray((255 * pixels).byte().numpy()).save(path)
    folder = run_dir / 'student'
    [found] = ImageClassificationInferencer(
        str(folder / 'student_mmpretrain.py'),
        pretrained=str(folder / 'student.pth'),
        device='cpu')(
            str(path))
    [expected] = predict(folder, [path])
    assert found['pred_class'] == expected.label
    # mmcv rounds grey values down.
    assert found['pred_score'] == pytest.approx(expected.probability, abs=2e-3)
