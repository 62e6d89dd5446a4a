"""Teachers from ONNX files."""
import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.errors import UserError, reason_of
from tadfkd.registry import MODELS
from tadfkd.teachers.base_teacher import BaseTeacher

_PACKAGES = ('onnx', 'onnxscript', 'onnx2pytorch')


@MODELS.register_module()
class ONNXTeacher(BaseTeacher):
    """A classifier in an ONNX file, converted to PyTorch by onnx2pytorch.

    Exporters fold batch norm into convolutions, so there are usually no
    batch-norm statistics. ``mean`` and ``std`` must be set, because the file
    does not contain them, and ``input_size`` if the file leaves it open.

    Args:
        checkpoint: A file with one input, images_BCHW of any batch size.
        **fields: Other arguments of :class:`BaseTeacher`.

    Raises:
        UserError: If a package is missing, or the file cannot be converted.
    """

    def __init__(self, checkpoint: str, **fields: Any) -> None:
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise UserError(f'the ONNX file {checkpoint} of the teacher does '
                            'not exist: set model.teacher.checkpoint')
        missing = [
            name for name in _PACKAGES
            if importlib.util.find_spec(name) is None
        ]
        if missing:
            raise UserError(f'an ONNX teacher needs {" and ".join(missing)}: '
                            'run `pip install "tadfkd[onnx]"`')
        network, facts = _converted(path)
        super().__init__(network, facts, **fields)
        self.facts['weights'] = Fact(checkpoint, 'model.teacher')


def _converted(path: Path) -> tuple[nn.Module, Facts]:
    """The network, and what the file says of its input."""
    import onnx
    from onnx2pytorch import ConvertModel
    from onnxscript.optimizer import optimize
    try:
        # onnx2pytorch needs all weights as constants.
        model = optimize(onnx.load(path))
        weights = {weight.name for weight in model.graph.initializer}
        images = [
            value.type.tensor_type.shape.dim for value in model.graph.input
            if value.name not in weights
        ]
        network = ConvertModel(model)
    except Exception as error:
        # Damaged bytes, or an operation that onnx2pytorch does not know.
        raise UserError(f'{path} cannot be converted to PyTorch '
                        f'({type(error).__name__}: {reason_of(error)}): export'
                        ' the classifier as TorchScript') from error
    if len(images) != 1 or len(images[0]) != 4:
        raise UserError(f'{path} must have one input, a batch of images: '
                        'export the classifier alone')
    # 0 stands for any number.
    batch, channels, height, width = (size.dim_value for size in images[0])
    if batch:
        raise UserError(f'{path} takes {batch} images at a time: export the '
                        'classifier with a dynamic batch')
    facts: Facts = {}
    if channels:
        facts['num_channels'] = Fact(channels, 'the ONNX file')
    if height and width:
        facts['input_size'] = Fact((height, width), 'the ONNX file')
    return network, facts
