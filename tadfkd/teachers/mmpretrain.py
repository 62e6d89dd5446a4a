"""Teachers from mmpretrain, timm and Hugging Face."""
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tadfkd.classifiers.build import build_classifier
from tadfkd.classifiers.configs import (find_classifier, lacks_class_count,
                                        with_num_classes,
                                        without_pretrained_weights,
                                        wrapped_library)
from tadfkd.classifiers.facts import facts_of
from tadfkd.errors import UserError, reason_of
from tadfkd.registry import MODELS
from tadfkd.teachers.checkpoint_teacher import CheckpointTeacher


@MODELS.register_module()
class MMPretrainTeacher(CheckpointTeacher):
    """An mmpretrain classifier with its checkpoint, frozen.

    Any classifier of timm or Hugging Face is accepted too, through
    mmpretrain's wrappers. ``model`` is then ``'timm::resnet18'``, a wrapper's
    model dict, or ``'transformers::FOLDER'`` with a local folder. The folder
    needs ``config.json``; its ``.safetensors`` are the weights unless a
    ``checkpoint`` is given. The class count of these two is ``num_classes``,
    or else that of the checkpoint.

    Size, normalisation and channel order come from the config's test data, or
    from the ``data_preprocessor`` of a model dict. timm and Hugging Face have
    their own records of them.

    Args:
        model: A model name of mmpretrain's zoo, the path of a config, a
            prefixed name as above, or a model dict.
        **options: Other arguments of
            :class:`~tadfkd.teachers.checkpoint_teacher.CheckpointTeacher`.

    Raises:
        UserError: If there is no such model or checkpoint, or the checkpoint
            does not contain exactly the network's weights.
    """

    def __init__(self, model: str | dict, **options: Any) -> None:
        model_dict, config = find_classifier(model, 'model.teacher.model')
        library = wrapped_library(model_dict)
        # mmpretrain's own Pretrained weights are for fine-tuning, so only
        # weights of a wrapped library count.
        has_weights = library is not None and not options.get(
            'checkpoint') and _has_library_weights(model_dict)
        loads_while_building = has_weights and library == 'timm'

        def build(num_classes: int | None) -> nn.Module:
            described = model_dict if loads_while_building else \
                without_pretrained_weights(model_dict)
            if num_classes is not None and not has_weights \
                    and lacks_class_count(model_dict):
                described = with_num_classes(described, num_classes)
            network: Any = build_classifier(described, 'model.teacher.model')
            if has_weights and library == 'transformers':
                network.model = _from_transformers(model_dict['model_name'])
            return network

        super().__init__(
            build,
            lambda network: facts_of(model_dict, config, network),
            has_weights=has_weights,
            **options)

    def raw_forward(self, network: nn.Module, inputs_BCHW: Tensor) -> Any:
        """See :meth:`BaseTeacher.raw_forward`."""
        return network(inputs_BCHW, mode='tensor')


def _has_library_weights(model: dict) -> bool:
    """Whether timm or Hugging Face provide trained weights for the model.

    Raises:
        UserError: If published weights are requested together with a class
            count of the user's own.
    """
    name = str(model.get('model_name'))
    if model.get('pretrained') and {'num_classes', 'num_labels'} & {*model}:
        raise UserError(f'pretrained=True of {name} would leave its '
                        'classification layer random, because the class '
                        'count is set: name a checkpoint, or leave the class '
                        'count out')
    # Only for transformers, because a folder in the working directory may
    # have the name of a timm model.
    in_folder = wrapped_library(model) == 'transformers' and any(
        Path(name).glob('*.safetensors'))
    return bool(model.get('pretrained')) or in_folder


def _from_transformers(name: str) -> nn.Module:
    """A Hugging Face classifier with all of its weights."""
    from transformers import AutoModelForImageClassification
    try:
        network, report = AutoModelForImageClassification.from_pretrained(
            name,
            # Refuse pickles and code in the folder.
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True)
    except Exception as error:
        # The files in the folder can raise any exception.
        raise UserError(f'the weights of {name} cannot be read '
                        f'({reason_of(error)}): name a folder with '
                        'config.json and model.safetensors') from error
    bad = sorted({
        str(key)
        for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys')
        for key in report[kind]
    })
    if bad:
        raise UserError(f'the weights of {name} do not fit its classifier '
                        f'({", ".join(bad[:8])}): name the folder of a '
                        'trained classifier')
    return network
