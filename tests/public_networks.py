"""CIFAR teachers with the names and operations of public code.

Written for the tests; the weights are random.
"""
import torch
from torch import Tensor, nn


def randomized(network: nn.Module) -> nn.Module:
    """Random batch-norm statistics and affine weights too; in eval mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.num_batches_tracked.fill_(7)
    return network.eval()


class ResNetBlock(nn.Module):
    """Basic block or bottleneck; ``name`` is the projection's."""

    def __init__(self, channels: int, width: int, stride: int,
                 bottleneck: bool, name: str) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.conv3 = nn.Conv2d(width, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bottleneck, self.name = bottleneck, name
        projection = nn.Sequential()
        if stride != 1 or channels != out:
            projection = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False),
                nn.BatchNorm2d(out))
        self.add_module(name, projection)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.bottleneck:
            out = self.bn3(self.conv3(torch.relu(out)))
        return torch.relu(out + getattr(self, self.name)(x))


class PublicResNet(nn.Module):
    """``conv1, bn1, layer1.0.conv1, ..., linear`` and its variants."""

    def __init__(self,
                 blocks: tuple[int, ...] = (2, 2, 2, 2),
                 bottleneck: bool = False,
                 shortcut: str = 'shortcut',
                 head: str = 'linear',
                 width: int = 4,
                 in_channels: int = 3,
                 num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        self.stages = []
        for stage, count in enumerate(blocks):
            layers = []
            for index in range(count):
                layers.append(
                    ResNetBlock(channels, width * 2**stage,
                                2 if stage and not index else 1, bottleneck,
                                shortcut))
                channels = width * 2**stage * (4 if bottleneck else 1)
            self.stages.append(f'layer{stage + 1}')
            self.add_module(self.stages[-1], nn.Sequential(*layers))
        self.head = head
        self.add_module(head, nn.Linear(channels, num_classes))
        randomized(self)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class BlockLayerWideBlock(nn.Module):
    """The block of ``block1.layer.0``."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.same = channels == width
        if not self.same:
            self.convShortcut = nn.Conv2d(
                channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.bn1(x))
        out = self.conv2(torch.relu(self.bn2(self.conv1(active))))
        return out + (x if self.same else self.convShortcut(active))


class LayerWideBlock(nn.Module):
    """The block of ``layer1.0``: another stride, another shortcut."""

    def __init__(self, channels: int, width: int, stride: int,
                 bias: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=bias)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=bias)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(torch.relu(self.bn1(x)))
        out = self.conv2(torch.relu(self.bn2(out)))
        return out + self.shortcut(x)


class PublicWideResNet(nn.Module):
    """``block1.layer.0.conv1, ..., fc`` or ``layer1.0.conv1, ..., linear``."""

    def __init__(self,
                 depth: int = 10,
                 factor: int = 1,
                 layers: bool = False,
                 bias: bool = False,
                 head: str = 'fc',
                 in_channels: int = 3,
                 num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=bias)
        channels = 16
        self.stages = []
        for stage in range(3):
            blocks: list[nn.Module] = []
            width = 16 * 2**stage * factor
            for index in range((depth - 4) // 6):
                stride = 2 if stage and not index else 1
                blocks.append(
                    LayerWideBlock(channels, width, stride, bias) if layers
                    else BlockLayerWideBlock(channels, width, stride))
                channels = width
            module = nn.Sequential(*blocks)
            if not layers:
                wrapper = nn.Module()
                wrapper.layer = module
                module = wrapper
            self.stages.append(f'{"layer" if layers else "block"}{stage + 1}')
            self.add_module(self.stages[-1], module)
        self.layers, self.head = layers, head
        self.bn1 = nn.BatchNorm2d(channels)
        self.add_module(head, nn.Linear(channels, num_classes))
        randomized(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for name in self.stages:
            stage = getattr(self, name)
            x = stage(x) if self.layers else stage.layer(x)
        x = torch.relu(self.bn1(x))
        return getattr(self, self.head)(x.mean((2, 3)))


VGG11 = ((64, ), (128, ), (256, 256), (512, 512), (512, 512))
VGG8 = ((64, ), (128, ), (256, ), (512, ), (512, ))


class FeaturesVGG(nn.Module):
    """``features.0, ..., classifier``."""

    def __init__(self,
                 widths: tuple[tuple[int, ...], ...] = VGG11,
                 norm: bool = True,
                 bias: bool = True,
                 num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in widths:
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, 1, 1, bias=bias))
                if norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU())
                channels = width
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.AvgPool2d(1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)
        randomized(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class BlockVGG(nn.Module):
    """``block0.0, ..., block4.0, classifier``."""

    def __init__(self,
                 widths: tuple[tuple[int, ...], ...] = VGG8,
                 norm: bool = True,
                 num_classes: int = 10) -> None:
        super().__init__()
        channels = 3
        for index, stage in enumerate(widths):
            layers: list[nn.Module] = []
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, 1, 1))
                if norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU())
                channels = width
            # The last ReLU is called by name, so it has no number.
            self.add_module(f'block{index}', nn.Sequential(*layers[:-1]))
        self.classifier = nn.Linear(channels, num_classes)
        randomized(self)

    def forward(self, x: Tensor) -> Tensor:
        is_64 = x.shape[2] == 64
        for index in range(5):
            x = torch.relu(getattr(self, f'block{index}')(x))
            if index < 3 or index == 3 and is_64:
                x = nn.functional.max_pool2d(x, 2)
        return self.classifier(x.mean((2, 3)))
