"""The frozen teacher: the one boundary between a network and a method."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.classifiers.input_adapter import ChannelOrder, InputAdapter
from tadfkd.classifiers.outputs import OutputPart, as_logits
from tadfkd.errors import UserError
from tadfkd.networks.bn_folding import folded
from tadfkd.networks.capture import capture
from tadfkd.structures import TeacherOutput
from tadfkd.teachers.readings import (has_running_statistics,
                                      read_bn_statistics, read_features)
from tadfkd.teachers.requirements import resolve_facts


class BaseTeacher(nn.Module):
    """A frozen classifier that is asked about images in [0, 1].

    It normalises, resizes and orders channels itself. Always in eval mode,
    no parameter ever has a gradient, but gradients reach the images. No
    ``BaseModule`` of mmengine, so that ``Runner.train``, which initialises
    those, does not overwrite the loaded weights.

    What it needs to know of the network is found out by the source of the
    teacher and by trying two blank images; each field below overrides that.
    :attr:`facts` says what holds and where it is from.

    Args:
        network: The classifier, with its weights.
        found: What the source of the teacher has found out.
        input_size: Height and width that images are resized to, or one
            number for both.
        mean: Per channel, in units of [0, 255], in the network's order.
        std: Likewise, > 0.
        channel_order: ``'rgb'`` or ``'bgr'``, what the network expects.
        num_channels: Of the images that the network takes.
        num_classes: To check what the network answers.
        activation: ``'softmax'`` for classes of which one is true,
            ``'sigmoid'`` for classes that are judged one by one.
        output: Which part of the network's output the logits are: an index,
            a key, or ``'sum'``. Only needed where there is a choice.
        grey_to_rgb: Whether grey images may enter a network of three
            channels, as three equal ones.
        fold_bn: Whether forwards that only ask for logits go through a copy,
            made now, whose batch norms are folded into its convolutions. It
            costs memory, and changes logits by rounding.

    Attributes:
        facts: By name of a field: its value and where that is from.

    Raises:
        UserError: If something cannot be found out, a field is not allowed,
            or the network does not give one (B, K) tensor of logits.
    """

    def __init__(self,
                 network: nn.Module,
                 found: Facts,
                 input_size: int | tuple[int, int] | None = None,
                 mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None,
                 channel_order: ChannelOrder | None = None,
                 num_channels: int | None = None,
                 num_classes: int | None = None,
                 activation: str | None = None,
                 output: OutputPart = None,
                 grey_to_rgb: bool = False,
                 fold_bn: bool = False) -> None:
        super().__init__()
        given = dict(
            input_size=input_size,
            mean=mean,
            std=std,
            channel_order=channel_order,
            num_channels=num_channels,
            num_classes=num_classes,
            activation=activation,
            output=output)
        self.facts = resolve_facts(given, found, network)
        self.network = network
        # Not network.requires_grad_, which TorchScript refuses.
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        values = {name: fact.value for name, fact in self.facts.items()}
        if grey_to_rgb and len(values['mean']) == 1:
            for name in ('mean', 'std'):
                values[name] = values[name] * values['num_channels']
        self.input_adapter = InputAdapter(
            values['mean'],
            values['std'],
            values['channel_order'],
            values['input_size'],
            owner='model.teacher',
            grey_to_rgb=grey_to_rgb)
        self.train()
        # In a list, so that it is no child of its own.
        self._heads: list[nn.Module] = []
        self._try_blank_images()
        self._folded = folded(self.network, self.logits,
                              self._shape()) if fold_bn else None

    @property
    def num_classes(self) -> int:
        """K."""
        return self.facts['num_classes'].value

    @property
    def bn_layers(self) -> list[nn.Module]:
        """The normalisation layers with running statistics. Looked up each
        time, because mmengine's Runner replaces SyncBN by BN and back."""
        return [
            module for module in self.network.modules()
            if has_running_statistics(module)
        ]

    @property
    def classification_layer(self) -> nn.Module | None:
        """The last layer that gives one value a class, if there is one; its
        input are the penultimate features."""
        return self._heads[0] if self._heads else None

    @property
    def fastest(self) -> nn.Module:
        """What logits alone are asked of: the network, or its folded copy."""
        return self.network if self._folded is None else self._folded

    def raw_forward(self, network: nn.Module, inputs_BCHW: Tensor) -> Any:
        """What a network like the teacher's returns for adapted inputs."""
        return network(inputs_BCHW)

    def logits(self, network: nn.Module, inputs_BCHW: Tensor) -> Tensor:
        """The (B, K) logits for inputs that are adapted already.

        Args:
            network: The network, or its folded copy.
            inputs_BCHW: As the network takes them.

        Raises:
            UserError: If the network gives anything else.
        """
        part = self.facts['output'].value if 'output' in self.facts else None
        return as_logits(
            self.raw_forward(network, inputs_BCHW), len(inputs_BCHW),
            type(self.network).__name__, part)

    def forward(
        self,
        images_BCHW: Tensor,
        *,
        with_bn: bool = False,
        with_features: bool = False,
        maps_at: Sequence[nn.Module] = ()
    ) -> TeacherOutput:
        """Ask the teacher.

        Args:
            images_BCHW: Float in [0, 1], RGB or one channel.
            with_bn: Whether to return batch-norm statistics of this forward.
            with_features: Whether to return the penultimate features.
            maps_at: Layers of the network whose inputs to return as maps, in
                the order of the forward.

        Returns:
            The answer; parts that were not asked for are None.

        Raises:
            UserError: If features are asked for and there is no layer whose
                input they could be.
        """
        bn_layers = self.bn_layers if with_bn else []
        heads = self._heads if with_features else []
        if with_features and not heads:
            raise UserError(f'{type(self.network).__name__} has no layer that '
                            'gives one value a class, so it has no '
                            'penultimate features: use an algorithm that '
                            'needs none')
        reads = with_bn or with_features or maps_at
        network = self.network if reads else self.fastest
        with capture(bn_layers, read_bn_statistics) as statistics, \
                capture(heads, read_features) as features, \
                capture(maps_at, lambda _, inputs: inputs) as maps:
            logits_BK = self.logits(network, self.input_adapter(images_BCHW))
        return TeacherOutput(
            logits_BK=logits_BK,
            features_BF=features[-1] if with_features else None,
            bn_statistics=tuple(statistics) if with_bn else None,
            maps=tuple(maps) if maps_at else None)

    @torch.no_grad()
    def _try_blank_images(self) -> None:
        """Find out the class count and the layer that gives the classes."""
        shape = self._shape()
        layers = [
            module for module in self.network.modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        ]
        with capture(layers, lambda layer, _: layer) as called:
            try:
                logits_BK = self.logits(
                    self.network,
                    self.input_adapter(torch.full((2, *shape), 0.5)))
            except UserError:
                raise
            except Exception as error:
                # The network is anybody's: it can fail in any way.
                # TorchScript has the cause in its last line.
                lines = str(error).strip().splitlines()
                reason = lines[-isinstance(self.network, torch.jit.ScriptModule
                                           )] if lines else ''
                raise UserError(
                    f'the teacher cannot take images of shape {shape} '
                    f'({reason or type(error).__name__}): set '
                    'model.teacher.input_size or model.teacher.num_channels, '
                    'or change the network') from error
        num_classes = logits_BK.shape[1]
        if num_classes < 2:
            raise UserError('the teacher must tell at least 2 classes apart, '
                            f'got {num_classes}: use a classifier with one '
                            'logit a class')
        expected = self.facts.get('num_classes')
        if expected is not None and expected.value != num_classes:
            raise UserError(f'the teacher has {num_classes} classes, but '
                            f'{expected.value} are {expected.source}: change '
                            'model.teacher.num_classes, or the network')
        self.facts['num_classes'] = Fact(num_classes, 'the network')
        for layer in called:
            width = layer.out_features if isinstance(
                layer, nn.Linear) else layer.out_channels
            if width == num_classes:
                self._heads = [layer]

    def _shape(self) -> tuple[int, ...]:
        """(C, H, W) of what the network takes."""
        return (self.facts['num_channels'].value,
                *self.facts['input_size'].value)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'BaseTeacher':
        # What Module.to, .half, .cuda and the like go through. LeViT, TinyViT
        # and EfficientFormer look their attention biases up when they change
        # to eval mode, and those would stay behind.
        super()._apply(fn, recurse)
        return self.train()

    def train(self, mode: bool = True) -> 'BaseTeacher':
        """Always eval: loops call ``model.train()`` on everything."""
        return super().train(False)
