"""One epoch of a recipe beside a plain DataLoader loop of the same network, in the same run.

    python benchmarks/training.py --recipe best --compile

The recipe's loop keeps the dataset on the device and augments there; the plain loop is the usual one: PIL images,
torchvision transforms, worker processes, FP32 weights without autocast. Prints seconds, images/s and the share of the
device's measured bf16 matrix rate (an 8192 x 8192 x 8192 product) that the network's arithmetic amounts to.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from builder.network.resnet import Classifier, resnet18  # noqa: E402
from builder.network.torchvision_models import torchvision_models  # noqa: E402
from builder.training.distillation import Teacher  # noqa: E402
from builder.training.loop import Images, Trainer  # noqa: E402
from builder.training.recipes import recipe_named  # noqa: E402  the project is run from its folder, not installed
from builder.training.run import choose_device  # noqa: E402
from cifar10 import CHANNEL_MEAN, CHANNEL_STD, Split, load  # noqa: E402


class PlainDataset(torch.utils.data.Dataset):
    """CIFAR-10 as tutorials read it: one PIL image at a time through torchvision's transforms."""

    def __init__(self, dataset) -> None:
        torchvision_models()  # makes torchvision importable beside a CPU build of PyTorch
        from torchvision import transforms

        self._dataset = dataset
        self._transform = transforms.Compose([
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(CHANNEL_MEAN, CHANNEL_STD),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index):
        from PIL import Image

        return self._transform(Image.fromarray(self._dataset.images[index])), int(self._dataset.labels[index])


def plain_epoch(dataset, recipe, device, workers: int) -> float:
    """Seconds of one epoch of the plain loop, after some updates of warm-up."""
    net = resnet18(recipe.stem).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    plain = PlainDataset(dataset)
    loader = torch.utils.data.DataLoader(plain, recipe.batch_size, shuffle=True, num_workers=workers, drop_last=True)
    warm = torch.randn(recipe.batch_size, 3, 32, 32, device=device)
    for _ in range(3):
        net(warm).sum().backward()
    _synchronize(device)
    begin = time.perf_counter()
    for images, labels in loader:
        loss = torch.nn.functional.cross_entropy(net(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _synchronize(device)
    return time.perf_counter() - begin


def flops_per_image(recipe) -> float:
    """Floating-point operations an image costs, as PyTorch counts them: forward, backward, the teacher's forward."""
    from torch.utils.flop_counter import FlopCounterMode

    net = Classifier(resnet18(recipe.stem, width=recipe.width))
    images = torch.randn(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        net.logits(images).sum().backward()
        if recipe.distillation:
            with torch.no_grad():
                net.logits(images)
    return counter.get_total_flops() / 2


def untrained_teacher(recipe, device, compiled: bool) -> Teacher | None:
    """A teacher that costs what a trained one does, where the recipe has one."""
    if not recipe.distillation:
        return None
    net = Classifier(resnet18(recipe.stem)).eval().requires_grad_(False)
    return Teacher(net, "", recipe.temperature, compiled).on(device)


def matrix_rate(device) -> float:
    """Measured FLOP/s of a large bf16 matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    _synchronize(device)
    begin = time.perf_counter()
    for _ in range(10):
        a @ b
    _synchronize(device)
    return 10 * 2 * size**3 / (time.perf_counter() - begin)


def _synchronize(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--limit", type=int, help="train on the first N images only")
    parser.add_argument("--epochs", type=int, default=8, help="of the recipe's loop; the first two are warm-up")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    recipe = recipe_named(arguments.recipe)
    train, test = load(Split.TRAIN, arguments.data), load(Split.TEST, arguments.data)
    if arguments.limit:
        train, test = train.head(arguments.limit), test.head(arguments.limit)
    torch.manual_seed(0)
    on_device = [Images.on(device, split) for split in (train, test)]
    teacher = untrained_teacher(recipe, device, arguments.compile)
    classifier = Classifier(resnet18(recipe.stem, width=recipe.width)).to(device)
    trainer = Trainer(recipe, classifier, *on_device, 0, arguments.compile, teacher)
    seconds = [trainer.epoch(lambda *_: None).seconds for _ in range(arguments.epochs)][2:]
    ours = float(np.median(seconds))
    plain = plain_epoch(train, dataclasses.replace(recipe), device, arguments.workers)
    images = trainer.updates_per_epoch * min(recipe.batch_size, len(train))
    flops, rate = flops_per_image(recipe), matrix_rate(device)
    result = {
        "command": " ".join(sys.argv),
        "date": str(date.today()),
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or "CPU",
        "torch": torch.__version__,
        "recipe": recipe.name,
        "images_per_epoch": images,
        "epoch_seconds": ours,
        "epoch_seconds_all": seconds,
        "images_per_second": images / ours,
        "flops_per_image": flops,
        "bf16_matrix_rate": rate,
        "share_of_matrix_rate": images / ours * flops / rate,
        "plain_epoch_seconds": plain,
        "plain_workers": arguments.workers,
        "plain_images_per_second": images / plain,
        "speed_up": plain / ours,
    }
    print(
        f"{result['machine']}, PyTorch {torch.__version__}, {result['date']}: recipe '{recipe.name}', {images:,} images"
    )
    print(f"this project's loop: {ours:6.2f} s an epoch, {images / ours:8,.0f} images/s, "
          f"{100 * result['share_of_matrix_rate']:.0f} % of the measured {rate / 1e12:.0f} TFLOP/s")  # fmt: skip
    print(f"plain DataLoader loop: {plain:6.2f} s, {images / plain:8,.0f} images/s ({arguments.workers} workers)")
    print(f"ratio {plain / ours:.1f}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
