"""What CIFAR-10 is, for whoever reads or serves it."""

from __future__ import annotations

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes in the canonical order: a label is an index into this tuple."""

IMAGE_SHAPE = (32, 32, 3)
"""Height, width, channels (RGB) of one image."""

CHANNEL_MEAN = (0.4914, 0.4822, 0.4465)
CHANNEL_STD = (0.2470, 0.2435, 0.2616)
"""Per-channel mean and standard deviation of the 50,000 training images, for pixels scaled to 0..1."""
