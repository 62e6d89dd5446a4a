"""Teachers from mmpretrain."""
from typing import Any

from torch import Tensor

from tadfkd.registry import MODELS
from tadfkd.teachers.loaded import LoadedTeacher
from tadfkd.utils.classifier_configs import (find_classifier,
                                             without_pretrained_weights,
                                             wrapped_library)
from tadfkd.utils.classifier_facts import facts_of
from tadfkd.utils.classifiers import build_classifier


@MODELS.register_module()
class MMPretrainTeacher(LoadedTeacher):
    """An mmpretrain classifier with its checkpoint, frozen.

    Also any classifier of timm or Hugging Face, through mmpretrain's
    wrappers: ``model='timm::resnet18'``, ``'transformers::FOLDER'`` (with
    its ``config.json``, no network needed), or their model dicts
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
        # Only a wrapped library brings weights that anybody would want.
        has_weights = wrapped_library(found_model) is not None and bool(
            found_model.get('pretrained')) and not options.get('checkpoint')
        if not has_weights:
            found_model = without_pretrained_weights(found_model)
        network = build_classifier(found_model)
        super().__init__(
            network,
            facts_of(found_model, config, network),
            has_weights=has_weights,
            **options)

    def ask(self, inputs_BCHW: Tensor) -> Any:
        """See :meth:`BaseTeacher.ask`."""
        return self.network(inputs_BCHW, mode='tensor')
