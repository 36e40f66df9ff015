"""CIFAR-10, read by the builder and by the client."""

from cifar10.constants import CHANNEL_MEAN, CHANNEL_STD, CLASS_NAMES, IMAGE_SHAPE
from cifar10.dataset import Dataset, Split
from cifar10.errors import DatasetError, DatasetNotFoundError
from cifar10.loading import load
from cifar10.synthetic import synthetic_images

__all__ = [
    "CHANNEL_MEAN",
    "CHANNEL_STD",
    "CLASS_NAMES",
    "IMAGE_SHAPE",
    "Dataset",
    "DatasetError",
    "DatasetNotFoundError",
    "Split",
    "load",
    "synthetic_images",
]
