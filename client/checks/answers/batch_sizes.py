"""Which batch sizes a check asks for, and how often: those that a server has prepared for, and those between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

_BURST_IMAGES = 16
"""Images in a row of small requests of one size: there are several, and take no longer than one of a large size."""


@dataclass(frozen=True)
class Size:
    """A batch size of a check.

    Attributes:
        images: a request.
        planned: whether a server has prepared for it; else it lies between two such sizes.
    """

    images: int
    planned: bool

    @property
    def requests(self) -> int:
        """How many of them, one after the other, in each round."""
        return max(1, _BURST_IMAGES // self.images)


def sizes(max_batch_size: int, configured: Iterable[int] = ()) -> list[Size]:
    """Sizes in ascending order.

    Planned are the powers of two, the largest that the model takes, and those that its configuration names (warm-up,
    CUDA graphs, preferred sizes). Between two planned sizes lie the one above the lower, the odd one in the middle and
    the one below the upper: where buffers are padded and batches split.

    Args:
        max_batch_size: images a request may hold; 0 for a model without a batch dimension of Triton's.
        configured: sizes that the configuration names; those that the model does not take are left out.
    """
    largest = max(max_batch_size, 1)
    powers = (1 << exponent for exponent in range(largest.bit_length()))
    planned = sorted({size for size in (*powers, *configured, largest) if 1 <= size <= largest})
    between = {
        size
        for lower, upper in pairwise(planned)
        for size in (lower + 1, (lower + upper) // 2 | 1, upper - 1)
        if lower < size < upper
    }
    return [Size(size, size in planned) for size in sorted({*planned, *between})]
