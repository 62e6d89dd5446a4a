"""A run in one line, from live networks to a student that is used again."""
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_networks import convolutional
from torch import nn

from tadfkd.apis import (Run, distill, export_student, load_config,
                         load_student, train)
from tadfkd.apis.teacher_check import config_for_teacher
from tadfkd.checkpoints.reading import read_checkpoint
from tadfkd.datasets import LabelledImages
from tadfkd.errors import UserError

#: A run of seconds, whose student learns nothing.
TINY = {
    'model.generator.width': 4,
    'model.generator.latent_size': 16,
    'model.batch_size': 8,
    'model.synthesis_batch_size': 8,
    'model.procedural.size': 16,
    'model.procedural.num_candidates': 32,
    'model.num_generator_steps': 1,
    'model.num_first_syntheses': 1,
    'model.num_further_images': 0
}
FIELDS: dict[str, Any] = dict(
    image_size=10, channels=1, mean=[0.286], std=[0.353], value_range=1)


def grey_network() -> nn.Module:
    """A tiny classifier of grey images."""
    return convolutional(in_channels=1)


@pytest.fixture(scope='module')
def teacher() -> nn.Module:
    """A network with weights of its own."""
    return grey_network()


@pytest.fixture(scope='module')
def run(teacher: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one step, from an object and a lambda."""
    work_dir = tmp_path_factory.mktemp('one_line') / 'a<b>&c'
    return distill(
        teacher=teacher,
        student=lambda: grey_network(),
        steps=1,
        options=TINY,
        work_dir=str(work_dir),
        **FIELDS)


def test_the_student_is_that_of_the_checkpoint(run: Run,
                                               teacher: nn.Module) -> None:
    network = grey_network()
    prefix = 'student.network.'
    network.load_state_dict({
        name.removeprefix(prefix): value
        for name, value in read_checkpoint(run.checkpoint)
        ['state_dict'].items() if name.startswith(prefix)
    })
    images_BCHW = torch.rand(3, 1, 12, 12)
    resized_BCHW = run.student.adapter.resize(images_BCHW)
    assert resized_BCHW.shape[-2:] == (10, 10)
    with torch.no_grad():
        # The deviation of the teacher's logits is in the last layer.
        torch.testing.assert_close(
            run.student(images_BCHW),
            network.eval()((resized_BCHW - 0.286) / 0.353))
    assert not run.student.training
    assert run.summary['student_steps'] == 1 and run.summary['finished']
    # The user's object is as it was.
    assert teacher.training
    assert all(weight.requires_grad for weight in teacher.parameters())


def test_a_notebook_shows_a_page_without_markup_from_files(run: Run) -> None:
    page = run._repr_html_()
    assert 'a&lt;b&gt;&amp;c' in page and 'a<b>' not in page
    assert 'src="data:image/png;base64,iVBOR' in page
    assert f'{run.summary["agreement_last"]:.2f} %' in page
    assert run.verdict in repr(run)


def test_the_student_is_exported_and_loaded_again(run: Run) -> None:
    folder = run.work_dir / 'student'
    path = run.export('torchscript')
    assert path.parent == folder
    images_BCHW = torch.rand(3, 1, 12, 12)
    expected_BK = run.student(images_BCHW)
    for student in (torch.jit.load(path),
                    load_student(folder, network=grey_network),
                    load_student(folder, network=grey_network()),
                    load_student(folder, trust_program=True).eval()):
        torch.testing.assert_close(student(images_BCHW), expected_BK)
    with pytest.raises(UserError, match=r'give load_student\(network=...\)'):
        load_student(folder)


def test_files_of_the_run_say_that_an_object_must_be_given_again(
        run: Run) -> None:
    description = json.loads(
        (run.work_dir / 'student/config.json').read_text())
    assert description['architecture']['factory'] == '<live object>'
    config = load_config(next(run.work_dir.glob('*.py')))
    assert config.model.teacher.factory == '<live object>'
    with pytest.raises(
            UserError, match='teacher of this config was an object'):
        train(config)
    with pytest.raises(
            UserError, match='student of this config was an object'):
        export_student(run.work_dir)


def test_a_name_that_can_be_imported_is_in_the_config() -> None:
    config = config_for_teacher(
        grey_network,
        dict(input_size=10, num_channels=1, mean=[127.5], std=[63.75]),
        steps=800,
        student=grey_network)
    assert config.model.student == dict(
        type='tadfkd.ModuleClassifier',
        factory=f'{__name__}:grey_network',
        mean=[127.5],
        std=[63.75],
        channel_order='rgb')
    assert config.work_dir == 'work_dirs/distill/grey_network_to_grey_network'
    # 32 iterations of 25 student steps: 8 epochs of 4.
    assert (config.model.num_student_steps, config.train_cfg.max_epochs,
            config.train_dataloader.dataset.num_steps) == (25, 8, 4)


@pytest.mark.parametrize('arguments, message', [
    (dict(), 'give a config, or teacher='),
    (dict(teacher=3), 'must be a network, a class or function .* got int'),
    (dict(teacher=grey_network, image_size=9, std=[1.0]),
     'mean of the teacher Sequential is unknown: set mean to'),
    (dict(teacher=grey_network, steps=0, **FIELDS), 'steps must be .* >= 1'),
    (dict(teacher='torchvision::squeezenet1_1'),
     'has no checkpoint: name one by .* or teacher_checkpoint'),
    (dict(teacher='net.onnx', teacher_checkpoint='net.pth'),
     'contains its weights, but a checkpoint is given too'),
    (dict(config={}, steps=3), 'are for a teacher without config'),
])
def test_a_mistake_is_named_by_the_argument(arguments: dict[str, Any],
                                            message: str) -> None:
    with pytest.raises(UserError, match=message):
        distill(**arguments)


@pytest.fixture
def pairs() -> list[tuple[torch.Tensor, int]]:
    """Eight images of another size than the teacher's, each with a label."""
    stream = torch.Generator().manual_seed(0)
    return [(torch.rand(1, 12, 12, generator=stream), label % 5)
            for label in range(8)]


def test_teacher_and_student_are_evaluated_on_a_data_set(
        teacher: nn.Module, pairs: list, tmp_path: Path) -> None:
    run = distill(
        teacher=teacher,
        student=grey_network,
        steps=1,
        test_data=pairs,
        # The teacher knows nothing.
        options=TINY | {'default_hooks.teacher_sanity.min_top1': 0},
        work_dir=str(tmp_path),
        **FIELDS)
    images_BCHW = torch.stack([image for image, _ in pairs])
    labels_B = torch.tensor([label for _, label in pairs])
    resized_BCHW = run.student.adapter.resize(images_BCHW)
    for name, network in dict(
            teacher_top1=teacher.eval(),
            student_top1_last=run.student.network.network).items():
        with torch.no_grad():
            guesses_B = network((resized_BCHW - 0.286) / 0.353).argmax(1)
        expected = 100 * (guesses_B == labels_B).float().mean().item()
        assert run.summary[name] == pytest.approx(expected)
    assert run.summary['dataset'] == 'list'


def test_the_images_of_a_data_set_are_those_of_the_run() -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    found = [
        LabelledImages([(image, 2)], (4, 4), 1, 3)[0]['inputs']
        for image in (grey, Image.fromarray(grey), grey[..., None],
                      torch.tensor(grey)[None] / 255, torch.tensor(grey) / 255)
    ]
    for image_CHW in found:
        np.testing.assert_allclose(image_CHW, grey[None], atol=1e-4)


@pytest.mark.parametrize('test_data, message', [
    ([], 'test_data is empty'),
    ('folder', "test_data is 'folder', but must be a data set"),
    (iter([]), 'give such a data set, not its loader'),
    ([1], 'item 0 of test_data is 1, but must be a pair'),
    ([(torch.ones(1, 4, 4), 3)
      ], 'label 3 of item 0 .* whole number of 0 to 2'),
    ([(torch.ones(1, 4, 4), 'cat')], "label 'cat' of item 0"),
    ([(torch.full((1, 4, 4), -1.0), 0)
      ], 'image 0 of test_data has values from -1 to -1, but .* in .0, 1.'),
    ([(np.ones((4, 4)), 0)], 'is a ndarray, but must be a PIL image'),
    ([('photo.png', 0)], "is 'photo.png', but must be a PIL image"),
    ([(torch.ones(3, 4, 4), 0)], r'shape \(3, 4, 4\) .* of 1 channels'),
    ([(torch.ones(4), 0)], r'shape \(4,\)'),
])
def test_a_data_set_that_cannot_be_used_is_named(test_data: Any,
                                                 message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelledImages(test_data, (4, 4), 1, 3)[0]
