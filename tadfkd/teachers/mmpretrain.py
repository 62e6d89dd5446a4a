"""Teachers from mmpretrain."""
from mmengine.config import Config
from torch import Tensor

from tadfkd.registry import MODELS
from tadfkd.teachers.base import BaseTeacher
from tadfkd.utils.checkpoint import load_weights, read_checkpoint
from tadfkd.utils.classifiers import (ChannelOrder, InputAdapter,
                                      build_classifier, classifier_logits,
                                      find_classifier,
                                      without_pretrained_weights)
from tadfkd.utils.errors import UserError, size_pair


def _test_pipeline(config: Config) -> list[dict]:
    dataset = (config.get('test_dataloader') or {}).get('dataset', {})
    # Wrappers such as RepeatDataset hold the data set as ``dataset``.
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset.get('pipeline', [])


def _input_size(config: Config) -> tuple[int, int] | None:
    """What the last step of the test pipeline that sets a size sets it to."""
    for step in reversed(_test_pipeline(config)):
        size = step.get('crop_size', step.get('scale'))
        if size is not None:
            width, height = size_pair('the test pipeline', 'size', size)
            return height, width
    return None


def _channel_order(config: Config, model: dict) -> ChannelOrder:
    """BGR where images come from files and the preprocessor keeps them so.

    Data sets that hold arrays (CIFAR) are RGB and say ``to_rgb=False`` too.
    """
    from_file = any(
        str(step['type']).endswith('LoadImageFromFile')
        for step in _test_pipeline(config))
    to_rgb = model.get('data_preprocessor', {}).get('to_rgb', False)
    return 'bgr' if from_file and not to_rgb else 'rgb'


@MODELS.register_module()
class MMPretrainTeacher(BaseTeacher):
    """An mmpretrain classifier with its checkpoint, frozen.

    Args:
        model: The name of a model in mmpretrain's zoo, the path of a config,
            or a model dict.
        checkpoint: A local file whose weights cover the network exactly.
        recipe: The config that trains this teacher, named to the user who
            has no checkpoint.
        input_size: Height and width that images are resized to, or one
            number for both. None takes the test crop of the config that
            ``model`` names; for a model dict, images stay as they are.
        channel_order: ``'rgb'`` or ``'bgr'``. None finds it out from the
            config that ``model`` names; for a model dict it is ``'rgb'``.
        grey_to_rgb: Whether grey images enter a network of three channels as
            three equal ones; the mean of its preprocessor has three entries.
        allow_random_weights: Whether ``checkpoint=None`` is accepted, for
            benchmarks and tests that need no trained teacher.

    Raises:
        UserError: If there is no such model or checkpoint, or it does not
            cover the network's weights.
    """

    def __init__(self,
                 model: str | dict,
                 checkpoint: str | None = None,
                 recipe: str | None = None,
                 input_size: int | tuple[int, int] | None = None,
                 channel_order: ChannelOrder | None = None,
                 grey_to_rgb: bool = False,
                 allow_random_weights: bool = False) -> None:
        model, config = find_classifier(model, 'model.teacher.model')
        if config is not None:
            input_size = input_size or _input_size(config)
            channel_order = channel_order or _channel_order(config, model)
        if input_size is not None:
            input_size = size_pair('model.teacher', 'input_size', input_size)
        network = build_classifier(without_pretrained_weights(model))
        if checkpoint is not None or not allow_random_weights:
            weights = self._read_weights(checkpoint, recipe)
            load_weights(network, weights, f'teacher checkpoint {checkpoint}')
        super().__init__(
            network,
            InputAdapter.of(network, channel_order or 'rgb', input_size,
                            grey_to_rgb))

    @staticmethod
    def _read_weights(checkpoint: str | None, recipe: str | None) -> dict:
        hint = f' (`python tools/train.py {recipe}` trains one)' \
            if recipe else ''
        if checkpoint is None:
            raise UserError('the teacher has no checkpoint: name one by '
                            '--teacher-checkpoint or '
                            f'model.teacher.checkpoint{hint}')
        try:
            content = read_checkpoint(checkpoint)
        except UserError as error:
            raise UserError(f'teacher {error}{hint}') from error
        return content.get('state_dict', content)

    def logits(self, inputs_BCHW: Tensor) -> Tensor:
        """See :meth:`BaseTeacher.logits`."""
        return classifier_logits(self.network, inputs_BCHW)
