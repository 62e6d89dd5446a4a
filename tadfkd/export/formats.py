"""The file formats of a student, each written and read by its own library."""
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from mmengine.config import Config
from torch import Tensor

from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.outputs import classifier_logits
from tadfkd.errors import UserError
from tadfkd.export.student_module import PROGRAM, Student

#: Contents of files by name.
Files: TypeAlias = dict[str, bytes]
#: From images in [0, 1] to logits.
Classify: TypeAlias = Callable[[Tensor], Tensor]


class Format(NamedTuple):
    """A way to write a student.

    Attributes:
        write: From the student, the content of ``config.json`` and generated
            images to the files, and to the function that was read from these
            files.
        files: Names of the files.
        packages: Packages that it needs beyond those of tadfkd.
        is_exact: Whether it keeps the weights as they are.
    """

    write: Callable[[Student, dict[str, Any], Tensor], tuple[Files, Classify]]
    files: tuple[str, ...]
    packages: tuple[str, ...] = ()
    is_exact: bool = True


def require_packages(name: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        UserError: With the command that installs them.
    """
    missing = [
        package for package in FORMATS[name].packages
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        raise UserError(f'the format {name} needs {" and ".join(missing)}: '
                        'run `pip install "tadfkd[onnx]"`, or leave the '
                        'format out')


@contextmanager
def _tracing() -> Iterator[None]:
    """Without graph, and without warnings about code that a trace fixes."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        yield


def _torch_export(student: Student, _: dict,
                  images_BCHW: Tensor) -> tuple[Files, Classify]:
    buffer = io.BytesIO()
    with _tracing():
        torch.export.save(
            torch.export.export(
                student, (images_BCHW[:2], ),
                dynamic_shapes=({
                    0: torch.export.Dim('batch')
                }, )), buffer)
        content = buffer.getvalue()
        program = torch.export.load(io.BytesIO(content))
    return {PROGRAM: content}, program.module()


def _onnx(student: Student, _: dict,
          images_BCHW: Tensor) -> tuple[Files, Classify]:
    with _tracing():
        program = torch.onnx.export(
            student, (images_BCHW[:2], ),
            verbose=False,
            input_names=['images'],
            output_names=['logits'],
            dynamic_shapes=({
                0: 'batch'
            }, ))
    assert program is not None
    content = program.model_proto.SerializeToString()
    return {'student.onnx': content}, _onnx_session(content)


def _onnx_session(content: bytes) -> Classify:
    import onnxruntime
    session = onnxruntime.InferenceSession(
        content, providers=['CPUExecutionProvider'])
    return lambda images_BCHW: torch.from_numpy(
        session.run(None, {'images': images_BCHW.numpy()})[0])


def _onnx_int8(student: Student, _: dict,
               images_BCHW: Tensor) -> tuple[Files, Classify]:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        batches = iter([dict(images=images_BCHW.numpy())])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    files = _onnx(student, {}, images_BCHW)[0]
    with tempfile.TemporaryDirectory() as folder:
        source, folded, target = (
            Path(folder, f'{name}.onnx')
            for name in ('source', 'folded', 'target'))
        source.write_bytes(files['student.onnx'])
        quant_pre_process(source, folded, skip_symbolic_shape=True)
        quantize_static(folded, target, Images(), per_channel=True)
        content = target.read_bytes()
    return {'student.int8.onnx': content}, _onnx_session(content)


def _torchscript(student: Student, _: dict,
                 images_BCHW: Tensor) -> tuple[Files, Classify]:
    buffer = io.BytesIO()
    with _tracing():
        torch.jit.save(torch.jit.trace(student, (images_BCHW[:2], )), buffer)
        content = buffer.getvalue()
        return {'student.ts.pt': content}, torch.jit.load(io.BytesIO(content))


def _mmpretrain(student: Student, description: dict,
                _: Tensor) -> tuple[Files, Classify]:
    # mmpretrain's inferencer loads every file as BGR.
    steps: list[dict] = [dict(type='LoadImageFromFile')]
    if description['channels'] == 1:
        # mmcv has no step that always does it; the weights are Pillow's.
        steps.append(
            dict(
                type='RandomGrayscale',
                prob=1.0,
                channel_weights=(0.114, 0.587, 0.299)))
    for size in (description['image_size'], description['network_size']):
        if size is not None:
            steps.append(dict(type='Resize', scale=(size[1], size[0])))
    config = Config(
        dict(
            model=description['architecture'] | dict(
                data_preprocessor=dict(
                    mean=description['mean_255'],
                    std=description['std_255'],
                    to_rgb=description['channel_order'] == 'rgb')),
            test_dataloader=dict(
                dataset=dict(
                    type='CustomDataset',
                    pipeline=[*steps, dict(type='PackInputs')]))))
    buffer = io.BytesIO()
    classes = description['classes'] or [
        str(index) for index in range(description['num_classes'])
    ]
    torch.save(
        dict(
            state_dict=student.network.state_dict(),
            meta=dict(dataset_meta=dict(classes=classes))), buffer)
    files = {
        'student.pth': buffer.getvalue(),
        'student_mmpretrain.py': config.pretty_text.encode()
    }
    read = Config.fromstring(files['student_mmpretrain.py'].decode(), '.py')
    network: Any = build_classifier(read.model.to_dict())
    network.load_state_dict(
        torch.load(io.BytesIO(files['student.pth']))['state_dict'])
    with torch.no_grad():
        network.train().eval()

    def classify(images_BCHW: Tensor) -> Tensor:
        pixels_BCHW = 255 * student.adapter.resize(images_BCHW).flip(1)
        inputs_BCHW = network.data_preprocessor(
            dict(inputs=pixels_BCHW))['inputs']
        return classifier_logits(network, inputs_BCHW, student.output)

    return files, classify


#: By the name that a user gives. ``safetensors`` is not among them, because
#: it is always written and the others are made from it.
FORMATS = {
    'torch.export':
    Format(_torch_export, (PROGRAM, )),
    'onnx':
    Format(_onnx, ('student.onnx', ), ('onnx', 'onnxscript', 'onnxruntime')),
    'onnx-int8':
    Format(
        _onnx_int8, ('student.int8.onnx', ),
        ('onnx', 'onnxscript', 'onnxruntime'),
        is_exact=False),
    'torchscript':
    Format(_torchscript, ('student.ts.pt', )),
    'mmpretrain':
    Format(_mmpretrain, ('student.pth', 'student_mmpretrain.py'))
}
