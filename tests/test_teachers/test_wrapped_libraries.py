"""Teachers of timm and of Hugging Face, offline."""
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forged_checkpoints import Payload
from tiny_networks import save_hugging_face

from tadfkd.errors import UserError
from tadfkd.teachers import MMPretrainTeacher

timm = pytest.importorskip('timm')
transformers = pytest.importorskip('transformers')

FIELDS = dict(mean=[127.5], std=[63.75], input_size=32)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may ask a hub."""
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')


def random_teacher(model: str | dict, **options: Any) -> MMPretrainTeacher:
    """A teacher without checkpoint."""
    return MMPretrainTeacher(model, allow_random_weights=True, **options)


def of_timm(name: str, **options: Any) -> dict:
    """The model dict."""
    return dict(type='TimmClassifier', model_name=name, **options)


@pytest.mark.parametrize(
    'model', ['timm::test_resnet.r160_in1k',
              of_timm('test_resnet.r160_in1k')])
def test_timm_tells_how_its_own_weights_were_trained(
        model: str | dict) -> None:
    facts = random_teacher(model).facts
    record = timm.create_model('test_resnet.r160_in1k').pretrained_cfg
    source = "timm's pretrained_cfg"
    assert facts['input_size'] == (record['input_size'][1:], source)
    assert facts['input_size'].value == (160, 160)
    for name in ('mean', 'std'):
        assert facts[name].source == source
        np.testing.assert_allclose(facts[name].value,
                                   255 * np.array(record[name]))
    assert facts['num_classes'].value == 1000


def test_statistics_of_timms_batch_norm_are_those_of_its_input() -> None:
    model = of_timm('test_efficientnet', num_classes=7)
    teacher = random_teacher(model, **FIELDS)
    layers = teacher.bn_layers
    # torch does not know timm's own class.
    assert {type(layer).__name__ for layer in layers} == {'BatchNormAct2d'}
    inputs = {}
    for layer in layers:
        torch.nn.init.normal_(layer.running_mean)
        layer.register_forward_hook(lambda layer, args, _: inputs.__setitem__(
            layer, args[0].numpy().astype(np.float64)))
    with torch.no_grad():
        output = teacher(torch.rand(4, 3, 32, 32), with_bn=True)
    assert len(output.bn_statistics) == len(inputs) == 13
    for (layer, value), found in zip(inputs.items(), output.bn_statistics):
        np.testing.assert_allclose(found.mean_F, value.mean((0, 2, 3)), 1e-3,
                                   1e-5)
        np.testing.assert_allclose(found.variance_F, value.var((0, 2, 3)),
                                   1e-3, 1e-5)
        assert torch.equal(found.running_mean_F, layer.running_mean)


@pytest.mark.parametrize('options', [{}, dict(pretrained=True)])
def test_timms_own_checkpoint_is_loaded(tmp_path: Path, options: dict) -> None:
    network = timm.create_model('test_resnet', num_classes=7).eval()
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    # With a checkpoint, nothing is downloaded that it would replace.
    teacher = MMPretrainTeacher(
        of_timm('test_resnet', num_classes=7, **options),
        checkpoint=str(path),
        **FIELDS)
    images_BCHW = torch.rand(2, 3, 32, 32)
    output = teacher(images_BCHW, with_features=True)
    torch.testing.assert_close(output.logits_BK,
                               network((images_BCHW - 0.5) / 0.25))
    torch.testing.assert_close(
        network.fc(output.features_BF), output.logits_BK)


def test_the_class_count_is_that_of_the_teacher_or_of_its_checkpoint(
        tmp_path: Path) -> None:
    assert random_teacher(
        'timm::test_resnet', num_classes=7, **FIELDS).num_classes == 7
    network = timm.create_model('test_resnet', num_classes=7).eval()
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    teacher = MMPretrainTeacher(
        'timm::test_resnet', checkpoint=str(path), **FIELDS)
    images_BCHW = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK, network((images_BCHW - 0.5) / 0.25))
    save_hugging_face(tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    assert random_teacher(
        of_folder(tmp_path), num_classes=4, **FIELDS).num_classes == 4


def of_folder(folder: Path) -> str:
    """What names a model of Hugging Face."""
    return f'transformers::{folder}'


def test_a_vision_transformer_tells_size_channels_and_activation(
        tmp_path: Path) -> None:
    transformers.ViTForImageClassification(
        transformers.ViTConfig(
            image_size=24,
            patch_size=8,
            num_channels=1,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            num_labels=6,
            problem_type='multi_label_classification')).save_pretrained(
                tmp_path)
    teacher = random_teacher(of_folder(tmp_path), mean=[0.0], std=[255.0])
    assert teacher.facts['input_size'] == ((24, 24), 'config.json')
    assert teacher.facts['num_channels'] == (1, 'config.json')
    assert teacher.facts['activation'] == ('sigmoid', 'config.json')
    assert teacher.bn_layers == []
    output = teacher(torch.rand(2, 1, 16, 16), with_features=True)
    assert output.logits_BK.shape == (2, 6)
    assert output.features_BF.shape == (2, 8)


SQUARE, EDGE = dict(height=32, width=32), dict(shortest_edge=32)
CROP = dict(height=24, width=24)
STATISTICS = dict(image_mean=[0.4, 0.5, 0.6], image_std=[0.1, 0.2, 0.3])


@pytest.mark.parametrize('kind, options, size', [
    ('ViTImageProcessor', dict(size=SQUARE, **STATISTICS), 32),
    ('ViTImageProcessor', dict(size=SQUARE, do_normalize=False), 32),
    ('ViTImageProcessor', dict(size=SQUARE, do_rescale=False), 32),
    ('BitImageProcessor', dict(size=EDGE, crop_size=CROP), 24),
    ('EfficientNetImageProcessor',
     dict(
         size=SQUARE,
         include_top=False,
         rescale_offset=True,
         rescale_factor=1 / 127.5,
         **STATISTICS), 32),
    ('MobileViTImageProcessor', dict(size=EDGE, crop_size=CROP), 24),
    ('MobileViTImageProcessor',
     dict(size=EDGE, crop_size=CROP, do_flip_channel_order=False), 24),
])
def test_normalisation_is_that_of_hugging_faces_own_processor(
        tmp_path: Path, kind: str, options: dict, size: int) -> None:
    network = save_hugging_face(tmp_path)
    processor = getattr(transformers, kind)(**options)
    processor.save_pretrained(tmp_path)
    teacher = random_teacher(of_folder(tmp_path))
    assert teacher.facts['input_size'] == ((size, size),
                                           'preprocessor_config.json')
    teacher.network.model.load_state_dict(network.state_dict())

    pixels_CHW = torch.randint(256, (3, size, size), dtype=torch.uint8)
    inputs_BCHW = processor(
        pixels_CHW, do_resize=False, do_center_crop=False,
        return_tensors='pt')['pixel_values']
    images_BCHW = pixels_CHW[None] / 255
    torch.testing.assert_close(
        teacher.input_adapter(images_BCHW), inputs_BCHW, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        teacher(images_BCHW).logits_BK,
        network(inputs_BCHW).logits,
        rtol=1e-4,
        atol=1e-4)


@pytest.mark.parametrize('size', [20, [20, 20]])
def test_preprocessors_of_older_releases_are_read(tmp_path: Path,
                                                  size: object) -> None:
    save_hugging_face(tmp_path)
    # As feature extractors wrote it: without a rescaling entry.
    (tmp_path / 'preprocessor_config.json').write_text(
        json.dumps(
            dict(
                do_normalize=True,
                do_resize=True,
                feature_extractor_type='ViTFeatureExtractor',
                size=size,
                **STATISTICS)))
    facts = random_teacher(of_folder(tmp_path)).facts
    assert facts['input_size'].value == (20, 20)
    np.testing.assert_allclose(facts['mean'].value, [102, 127.5, 153], 1e-4)
    np.testing.assert_allclose(facts['std'].value, [25.5, 51, 76.5], 1e-4)


@pytest.mark.parametrize('source',
                         ['safetensors', 'torch', 'pretrained', 'folder'])
def test_the_weights_of_hugging_face_are_loaded(tmp_path: Path,
                                                source: str) -> None:
    network = save_hugging_face(tmp_path)
    model: str | dict = of_folder(tmp_path)
    options = dict(checkpoint=str(tmp_path / 'model.safetensors'))
    if source == 'torch':
        options['checkpoint'] = str(tmp_path / 'pytorch_model.bin')
        torch.save(network.state_dict(), options['checkpoint'])
    if source == 'pretrained':
        model = dict(
            type='HuggingFaceClassifier',
            model_name=str(tmp_path),
            pretrained=True)
    if source in ('pretrained', 'folder'):
        options = {}
    teacher = MMPretrainTeacher(model, **options, **FIELDS)
    images_BCHW = torch.rand(2, 3, 32, 32)
    output = teacher(images_BCHW, with_bn=True, with_features=True)
    torch.testing.assert_close(output.logits_BK,
                               network((images_BCHW - 0.5) / 0.25).logits)
    assert output.features_BF.shape == (2, 12)
    assert len(output.bn_statistics) == len(teacher.bn_layers) > 0
    expected = options.get('checkpoint', 'from its source')
    assert teacher.facts['weights'].value.startswith(expected)


def test_a_folder_whose_head_is_missing_is_refused(tmp_path: Path) -> None:
    network = save_hugging_face(tmp_path)
    network.resnet.save_pretrained(tmp_path)
    with pytest.raises(UserError, match='do not fit its classifier.*class'):
        MMPretrainTeacher(of_folder(tmp_path), **FIELDS)


def test_a_pickle_in_a_folder_is_not_read(tmp_path: Path) -> None:
    save_hugging_face(tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    trace = tmp_path / 'the payload ran'
    (tmp_path / 'pytorch_model.bin').write_bytes(
        pickle.dumps(Payload(os.system, f'touch "{trace}"')))
    model = dict(
        type='HuggingFaceClassifier',
        model_name=str(tmp_path),
        pretrained=True)
    with pytest.raises(UserError, match='model.safetensors'):
        MMPretrainTeacher(model, **FIELDS)
    assert not trace.exists()


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    save_hugging_face(tmp_path)
    trace = tmp_path / 'the code ran'
    (tmp_path / 'evil.py').write_text(f'open({str(trace)!r}, "w")\n')
    path = tmp_path / 'config.json'
    content = json.loads(path.read_text()) | dict(
        model_type='unheard-of', auto_map=dict(AutoConfig='evil.Config'))
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match='cannot be built'):
        MMPretrainTeacher(of_folder(tmp_path), **FIELDS)
    assert not trace.exists()
