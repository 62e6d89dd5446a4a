"""The frozen teacher, which hides where its network comes from."""
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tadfkd.classifiers.facts import Fact, Facts
from tadfkd.classifiers.input_adapter import ChannelOrder, InputAdapter, in_255
from tadfkd.classifiers.outputs import OutputPart, as_logits
from tadfkd.errors import UserError
from tadfkd.networks.capture import (capture, has_running_statistics,
                                     read_bn_statistics, read_features)
from tadfkd.networks.folding import folded, with_weights_in
from tadfkd.networks.padding import padded, uses_batch_statistics
from tadfkd.structures import BNStatistics, TeacherOutput
from tadfkd.teachers.requirements import resolve_facts

# What torch says if weights and images differ in precision.
_PRECISION = re.compile('half|double|bfloat16|dtype', re.IGNORECASE)


class BaseTeacher(nn.Module):
    """A frozen classifier of images in [0, 1].

    The teacher normalises, resizes and orders channels itself. It is always
    in eval mode, and its parameters never get gradients, but gradients reach
    the images. It is not a ``BaseModule`` of mmengine, because
    ``Runner.train`` would initialise it and overwrite the loaded weights.

    Subclasses know their source (mmpretrain, torchvision, ...) and pass its
    facts. Two blank images tell the class count. Each field below overrides
    what was found; :attr:`facts` has each value and where it is from.

    Args:
        network: The classifier, with its weights.
        source_facts: What the source of the teacher says about the network.
        input_size: Height and width that images are resized to, or one
            number for both.
        mean: Per channel, in units of [0, ``value_range``], in the network's
            order.
        std: Likewise, > 0.
        value_range: White, in the units of ``mean`` and ``std``, >= 0.001;
            torchvision's transforms have 1. Another one than 255 needs
            ``mean`` and ``std``.
        channel_order: ``'rgb'`` or ``'bgr'``, what the network expects.
        num_channels: Channels of the images that the network takes.
        num_classes: The expected number of classes, which is checked.
        activation: ``'softmax'`` if exactly one class is true, ``'sigmoid'``
            if each class is judged by itself.
        output: Which part of the network's output the logits are: an index,
            a key, or ``'sum'``. Only needed if the output has several parts.
        grey_to_rgb: Whether a network of three channels may take grey
            images, as three equal channels.

    Attributes:
        facts: By name of a field, its value and where the value is from.
        lean: The copy that :meth:`make_lean` made, or None.
        pad_to: What :meth:`pad_batches` was given; 1 for no padding.

    Raises:
        UserError: If a needed fact is unknown, a field is not allowed, or the
            network does not give one (B, K) tensor of logits.
    """

    def __init__(self,
                 network: nn.Module,
                 source_facts: Facts,
                 input_size: int | tuple[int, int] | None = None,
                 mean: Sequence[float] | None = None,
                 std: Sequence[float] | None = None,
                 value_range: float = 255.0,
                 channel_order: ChannelOrder | None = None,
                 num_channels: int | None = None,
                 num_classes: int | None = None,
                 activation: Literal['softmax', 'sigmoid'] | None = None,
                 output: OutputPart = None,
                 grey_to_rgb: bool = False) -> None:
        super().__init__()
        mean, std = in_255('model.teacher', mean, std, value_range)
        given: dict[str, Any] = dict(
            input_size=input_size,
            mean=mean,
            std=std,
            channel_order=channel_order,
            num_channels=num_channels,
            num_classes=num_classes,
            activation=activation,
            output=output)
        self.facts = resolve_facts(given, source_facts, network)
        precisions = {
            tensor.dtype
            for tensor in (*network.parameters(), *network.buffers())
            if tensor.is_floating_point()
        } - {torch.get_default_dtype()}
        if precisions:
            # That of images.
            precision = torch.get_default_dtype()
            names = ', '.join(sorted(map(str, precisions)))
            self.facts['precision'] = Fact(
                str(precision), f'the network had {names}')
            network = network.to(precision)
        self.network = network
        self.lean: nn.Module | None = None
        self.pad_to = 1
        self._lean_dtype = torch.float32
        # TorchScript modules have no requires_grad_() of their own.
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
        # In a list, so that torch does not register the layer a second time.
        self._heads: list[nn.Module] = []
        self._try_blank_images()

    @property
    def num_classes(self) -> int:
        """K."""
        return self.facts['num_classes'].value

    @property
    def bn_layers(self) -> list[nn.Module]:
        """The normalisation layers with running statistics.

        They are searched at each call, because mmengine's Runner replaces
        SyncBN by BN and back.
        """
        return [
            module for module in self.network.modules()
            if has_running_statistics(module)
        ]

    @property
    def classification_layer(self) -> nn.Module | None:
        """The last layer with one output per class, if there is one.

        Its input is the penultimate features.
        """
        return self._heads[0] if self._heads else None

    def raw_forward(self, network: nn.Module, inputs_BCHW: Tensor) -> Any:
        """The output of :attr:`network`, or of a copy of it, for adapted
        inputs."""
        return network(inputs_BCHW)

    def logits(self,
               inputs_BCHW: Tensor,
               network: nn.Module | None = None) -> Tensor:
        """The (B, K) logits for adapted inputs.

        Args:
            inputs_BCHW: Images that went through :attr:`input_adapter`.
            network: A copy of :attr:`network` that answers in its place.

        Raises:
            UserError: If the network returns anything else.
        """
        part = self.facts['output'].value if 'output' in self.facts else None
        logits_BK = as_logits(
            self.raw_forward(network or self.network, inputs_BCHW),
            len(inputs_BCHW),
            type(self.network).__name__, part)
        if logits_BK.shape[1] == 1:
            # The softmax of (0, x) is the sigmoid of x.
            return torch.cat((torch.zeros_like(logits_BK), logits_BK), 1)
        return logits_BK

    def forward(
        self,
        images_BCHW: Tensor,
        *,
        with_bn: bool = False,
        with_features: bool = False,
        maps_at: Sequence[nn.Module] = ()
    ) -> TeacherOutput:
        """The logits for images, and what else is asked for.

        Args:
            images_BCHW: Float in [0, 1], RGB or one channel.
            with_bn: Whether to return batch-norm statistics of the images.
            with_features: Whether to return the penultimate features.
            maps_at: Layers of the network whose inputs are returned as maps,
                in the order of the forward pass.

        Returns:
            The output; parts that were not asked for are None.

        Raises:
            UserError: If features are asked for and no layer has one output
                per class.
        """
        bn_layers = self.bn_layers if with_bn else []
        heads = self._heads if with_features else []
        if with_features and not heads:
            raise UserError(f'{type(self.network).__name__} has no layer with '
                            'one output per class, so it has no penultimate '
                            'features: use an algorithm that needs none')
        count = len(images_BCHW)
        if self.pad_to > 1 and not heads and not maps_at \
                and not uses_batch_statistics(self.network):
            # Losses differentiate with respect to maps, so these stay whole.
            images_BCHW = padded(images_BCHW, self.pad_to)

        def read_own(layer: nn.Module, inputs: Tensor) -> BNStatistics:
            if len(images_BCHW) > count:
                # A layer may see each image as several rows.
                inputs = inputs[:len(inputs) * count // len(images_BCHW)]
            return read_bn_statistics(layer, inputs)

        with capture(bn_layers, read_own) as statistics, \
                capture(heads, read_features) as features, \
                capture(maps_at, lambda _, inputs: inputs) as maps:
            reads_layers = bn_layers or heads or maps_at
            logits_BK = self.logits(
                self.input_adapter(images_BCHW),
                None if reads_layers else self._lean_now(images_BCHW.device))
        return TeacherOutput(
            logits_BK=logits_BK[:count],
            features_BF=features[-1] if with_features else None,
            bn_statistics=tuple(statistics) if with_bn else None,
            maps=tuple(maps) if maps_at else None)

    @torch.no_grad()
    def pad_batches(self, multiple: int) -> None:
        """Let :meth:`forward` add blank images, whose answers nobody sees, up
        to a multiple: see :mod:`tadfkd.networks.padding`.

        A network that then answers differently gets no padding.

        Args:
            multiple: >= 1. 1 ends the padding.
        """
        self.pad_to = 1
        if multiple == 1:
            return
        images_BCHW = self._random_images(multiple + 1)
        answers = []
        for self.pad_to in (1, multiple):
            output = self(images_BCHW, with_bn=True)
            answers.append([
                output.logits_BK,
                *(moment_F for layer in output.bn_statistics
                  for moment_F in (layer.mean_F, layer.variance_F))
            ])
        if not all(
                torch.allclose(new, old, rtol=1e-3, atol=1e-3)
                for old, new in zip(*answers)):
            self.pad_to = 1

    @torch.no_grad()
    def make_lean(self, dtype: torch.dtype) -> None:
        """Let a copy of the network answer where nothing but logits is asked
        for: see :mod:`tadfkd.networks.folding`.

        A copy that gives other logits is not used.

        Args:
            dtype: Of the copy's weights. float32 keeps those of the network.
                With another type, the copy answers within
                :class:`torch.autocast` of this type only.
        """
        self.lean, self._lean_dtype = None, dtype
        lean = folded(self.network)
        if lean is not None and not self._has_my_logits(lean):
            lean = None
        if dtype != torch.float32 and not isinstance(self.network,
                                                     torch.jit.ScriptModule):
            lean = with_weights_in(lean or self.network, dtype)
            if lean is not None and not self._can_call(lean, dtype):
                lean = None
        self.lean = lean

    def _has_my_logits(self, copied: nn.Module) -> bool:
        """Whether a copy answers some images as the network does."""
        inputs_BCHW = self.input_adapter(self._random_images(8))
        expected_BK = self.logits(inputs_BCHW)
        difference_BK = self.logits(inputs_BCHW, copied) - expected_BK
        return bool(difference_BK.abs().max() <= 1e-3 *
                    expected_BK.abs().max())

    def _can_call(self, copied: nn.Module, dtype: torch.dtype) -> bool:
        """Whether a copy takes an image within autocast."""
        inputs_BCHW = self.input_adapter(self._random_images(1))
        try:
            with torch.autocast(inputs_BCHW.device.type, dtype):
                return bool(self.logits(inputs_BCHW, copied).isfinite().all())
        except Exception:
            # A network of a user that computes with the weights of its
            # layers itself may need them as they were.
            return False

    def _random_images(self, size: int) -> Tensor:
        """Noise, the same at each call."""
        stream = torch.Generator().manual_seed(0)
        images_BCHW = torch.rand(size, *self._shape(), generator=stream)
        return images_BCHW.to(self.input_adapter.mean.device)

    def _lean_now(self, device: torch.device) -> nn.Module | None:
        """The lean copy, if it can answer."""
        usable = self._lean_dtype == torch.float32 or (
            torch.is_autocast_enabled(device.type)
            and torch.get_autocast_dtype(device.type) == self._lean_dtype)
        return self.lean if usable else None

    @torch.no_grad()
    def _try_blank_images(self) -> None:
        """Find the class count and the classification layer."""
        shape = self._shape()
        layers = [
            module for module in self.network.modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        ]
        with capture(layers, lambda layer, _: layer) as called:
            try:
                logits_BK = self.logits(
                    self.input_adapter(torch.full((2, *shape), 0.5)))
            except UserError:
                raise
            except Exception as error:
                # A network of a user can raise any exception. TorchScript
                # puts the cause in its last line.
                lines = str(error).strip().splitlines()
                reason = lines[-isinstance(self.network, torch.jit.ScriptModule
                                           )] if lines else ''
                remedy = 'save it in float32, which images are' if \
                    _PRECISION.search(reason) else \
                    'set model.teacher.input_size or ' \
                    'model.teacher.num_channels, or change the network'
                raise UserError(
                    f'the teacher cannot take images of shape {shape} '
                    f'({reason or type(error).__name__}): {remedy}') from error
        num_classes = logits_BK.shape[1]
        expected = self.facts.get('num_classes')
        if expected is not None and expected.value != num_classes:
            raise UserError(f'the teacher has {num_classes} classes, but '
                            f'num_classes={expected.value} is '
                            f'{expected.source}: change '
                            'model.teacher.num_classes, or the network')
        self.facts['num_classes'] = Fact(num_classes, 'the network')
        if num_classes == 2 and (logits_BK
                                 == 0).all(0).tolist() == [True, False]:
            self.facts['activation'] = Fact('softmax',
                                            'one logit x, taken as (0, x)')
        for layer in called:
            width = layer.out_features if isinstance(
                layer, nn.Linear) else layer.out_channels
            if width == num_classes or width == 1 and num_classes == 2:
                self._heads = [layer]

    def _shape(self) -> tuple[int, ...]:
        """(C, H, W) of the images that the network takes."""
        return (self.facts['num_channels'].value,
                *self.facts['input_size'].value)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'BaseTeacher':
        # Module.to, .half and .cuda call this method. LeViT, TinyViT and
        # EfficientFormer cache attention biases when they enter eval mode;
        # the cached biases must follow to the new device and dtype.
        super()._apply(fn, recurse)
        return self.train()

    def train(self, mode: bool = True) -> 'BaseTeacher':
        """Stay in eval mode, though loops call ``model.train()``."""
        return super().train(False)
