"""Teachers from mmpretrain."""
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tadfkd.classifiers.configs import (find_classifier,
                                        without_pretrained_weights,
                                        wrapped_library)
from tadfkd.classifiers.facts import facts_of
from tadfkd.classifiers.outputs import build_classifier
from tadfkd.errors import UserError
from tadfkd.registry import MODELS
from tadfkd.teachers.loaded import LoadedTeacher


@MODELS.register_module()
class MMPretrainTeacher(LoadedTeacher):
    """An mmpretrain classifier with its checkpoint, frozen.

    Also any classifier of timm or Hugging Face, through mmpretrain's
    wrappers: ``model='timm::resnet18'``, ``'transformers::FOLDER'`` (with
    its ``config.json``, no network needed; its ``.safetensors`` are the
    weights, unless there is a ``checkpoint``), or their model dicts
    ``dict(type='TimmClassifier', model_name=...)``.

    Size, normalisation and channel order are those of the config's test
    data. A model dict tells its normalisation by its ``data_preprocessor``;
    timm and Hugging Face have their own records of it.

    Args:
        model: The name of a model in mmpretrain's zoo, the path of a config,
            a prefixed name as above, or a model dict.
        **options: Everything else of
            :class:`~tadfkd.teachers.loaded.LoadedTeacher`.

    Raises:
        UserError: If there is no such model or checkpoint, or it does not
            cover the network's weights.
    """

    def __init__(self, model: str | dict, **options: Any) -> None:
        found_model, config = find_classifier(model, 'model.teacher.model')
        library = wrapped_library(found_model)
        # Only a wrapped library brings weights that anybody would want.
        has_weights = library is not None and not options.get(
            'checkpoint') and _brings_weights(found_model)
        is_built = has_weights and library == 'timm'
        network = build_classifier(
            found_model if is_built else
            without_pretrained_weights(found_model), 'model.teacher.model')
        if has_weights and library == 'transformers':
            network.model = _from_transformers(found_model['model_name'])
        super().__init__(
            network,
            facts_of(found_model, config, network),
            has_weights=has_weights,
            **options)

    def raw_forward(self, network: nn.Module, inputs_BCHW: Tensor) -> Any:
        """See :meth:`BaseTeacher.ask`."""
        return network(inputs_BCHW, mode='tensor')


def _brings_weights(model: dict) -> bool:
    """Whether a wrapped model is asked for its weights, or its folder has
    some.

    Raises:
        UserError: If published weights are asked for together with a class
            count of the user's own.
    """
    name = str(model.get('model_name'))
    if model.get('pretrained') and {'num_classes', 'num_labels'} & {*model}:
        raise UserError(f'pretrained=True of {name} would leave the layer of '
                        'its own class count random: name a checkpoint of '
                        'yours, or leave the class count out')
    # A folder of the working directory may be called like a model of timm.
    in_folder = wrapped_library(model) == 'transformers' and any(
        Path(name).glob('*.safetensors'))
    return bool(model.get('pretrained')) or in_folder


def _from_transformers(name: str) -> nn.Module:
    """A Hugging Face classifier with every one of its weights."""
    from transformers import AutoModelForImageClassification
    try:
        network, report = AutoModelForImageClassification.from_pretrained(
            name,
            # Neither pickles nor code of the folder's.
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True)
    except Exception as error:
        # What is in the folder is anybody's.
        reason = str(error).strip().partition('\n')[0]
        raise UserError(f'the weights of {name} cannot be read ({reason}): '
                        'name a folder with config.json and '
                        'model.safetensors') from error
    bad = sorted({
        str(key)
        for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys')
        for key in report[kind]
    })
    if bad:
        raise UserError(f'the weights of {name} do not fit its classifier '
                        f'({", ".join(bad[:8])}): name the folder of a '
                        'classifier that was trained')
    return network
