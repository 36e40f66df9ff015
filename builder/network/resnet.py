"""ResNet18 with an ImageNet or a CIFAR stem, and the classifier that is served: raw pixels in, logits out."""

from __future__ import annotations

import enum
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from builder.network.torchvision_models import torchvision_models
from cifar10 import CHANNEL_MEAN, CHANNEL_STD, CLASS_NAMES


class Stem(str, enum.Enum):
    """The layers before the first residual stage.

    IMAGENET is torchvision's: 7x7 stride 2 and a max-pool; a 32x32 image enters the stages as 8x8.
    CIFAR is a 3x3 stride 1 without max-pool (He et al. 2015, section 4.2): the stages see all 32x32 pixels, at 15
    times the arithmetic (1.11 GFLOP an image instead of 0.07, counting a multiply-add as two).
    """

    IMAGENET = "imagenet"
    CIFAR = "cifar"


def resnet18(stem: Stem, *, width: int = 1, classes: int = len(CLASS_NAMES)) -> nn.Module:
    """Torchvision's ResNet18 with a new last layer, randomly initialised.

    Args:
        stem: the first layers.
        width: factor on the channels of every stage (Zagoruyko & Komodakis 2016); what is served has 1.
        classes: the number of logits.
    """
    net: nn.Module = torchvision_models().resnet18(num_classes=classes)
    if width > 1:
        net = _widened(width, classes)
    if stem is Stem.CIFAR:
        net.conv1 = nn.Conv2d(3, 64 * width, kernel_size=3, stride=1, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
        net.maxpool = nn.Identity()
    return net


def _widened(width: int, classes: int) -> nn.Module:
    """ResNet18 with `width` times the channels; torchvision's own argument for it serves bottleneck blocks only."""
    models = torchvision_models()
    net: Any = models.ResNet(models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=classes)
    channels = net.inplanes = 64 * width
    net.conv1 = nn.Conv2d(3, channels, kernel_size=7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(channels)
    for stage in range(4):
        layer = net._make_layer(models.resnet.BasicBlock, channels << stage, 2, stride=2 if stage else 1)
        setattr(net, f"layer{stage + 1}", layer)
    net.fc = nn.Linear(channels << 3, classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    return cast(nn.Module, net)


class Normalize(nn.Module):
    """Scale pixels of 0..255 to zero mean and unit variance per channel: (x / 255 - mean) / std as one multiply-add.

    The constants are buffers outside the state dict: they belong to the dataset, not to a training.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(CHANNEL_MEAN), torch.tensor(CHANNEL_STD)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise float pixels [N, 3, H, W] of 0..255."""
        return pixels * self.scale + self.shift


class Classifier(nn.Module):
    """The served network: UINT8 [N, 32, 32, 3] in, FP32 logits [N, 10] out.

    Args:
        net: a ResNet as `resnet18` makes it.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Classify raw images: UINT8 [N, 32, 32, 3] -> FP32 logits [N, 10].

        The cast comes first because TensorRT takes UINT8 only as a network input and converts it to FP32 or FP16
        only (NvInferRuntimeBase.h, `DataType::kUINT8`).
        """
        pixels = images.to(self.normalize.scale.dtype).permute(0, 3, 1, 2)
        return self.logits(self.normalize(pixels)).float()

    def logits(self, x: Tensor) -> Tensor:
        """Run the network on normalised images [N, 3, H, W].

        The layers are called one by one, with a mean over the pixels instead of `avgpool` and `flatten`: the export
        then holds no Shape node on the UINT8 input and no Reshape that depends on the batch size.
        """
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))  # type: ignore[operator]
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)  # type: ignore[operator]
        return net.fc(x.mean(dim=(2, 3)))  # type: ignore[operator, no-any-return]


def fold_batch_norm(classifier: Classifier) -> Classifier:
    """Fold every BatchNorm into the convolution before it, in place, and return the classifier in eval mode.

    Done here, in FP32, rather than left to an exporter or an engine: a later cast to FP16 then rounds the folded
    weights once.
    """
    classifier.eval()
    pairs = [(classifier.net, "conv1", "bn1")]
    for module in classifier.net.modules():
        if type(module).__name__ == "BasicBlock":
            pairs += [(module, "conv1", "bn1"), (module, "conv2", "bn2")]
            if isinstance(module.downsample, nn.Sequential):
                pairs.append((module.downsample, "0", "1"))
    for parent, conv, norm in pairs:
        fused = fuse_conv_bn_eval(parent.get_submodule(conv), parent.get_submodule(norm))  # type: ignore[type-var, arg-type]
        setattr(parent, conv, fused)
        setattr(parent, norm, nn.Identity())
    return classifier
