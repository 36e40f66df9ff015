"""What provenance says of a verification, and whether that spares doing it again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from builder.errors import VerificationError
from builder.verification.parity import Limits, Parity, judge
from console.processor import instruction_set
from console.versions import MODEL_TOOLS, package_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def circumstances(checkpoint: str, name: str, images: NDArray[np.uint8]) -> dict[str, Any]:
    """On what a verification depends beside the model's file: what must be the same for it to be spared.

    Args:
        checkpoint: SHA-256 of the network's.
        name: what the images are.
        images: UINT8 [N, 32, 32, 3].
    """
    return {
        "checkpoint": checkpoint,
        "images": name,
        "images_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "against": "PyTorch FP32, CPU",
        "tools": package_versions(MODEL_TOOLS),
        "cpu": instruction_set(),
    }


def made_now(under: Mapping[str, Any], parities: Sequence[Parity]) -> dict[str, Any]:
    """The record of a verification that was just passed."""
    return {
        **under,
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "batches": [dataclasses.asdict(parity) for parity in parities],
    }


def passed(record: object, under: Mapping[str, Any], limits: Limits) -> tuple[Parity, ...] | None:
    """The comparisons of an earlier verification of the same file, where it would be the same today.

    Args:
        record: what provenance holds under `verification`; whatever it is.
        under: today's circumstances.
        limits: today's; stricter ones may refuse what passed then.

    Returns:
        None where something differs or is missing, so that the model must be verified.
    """
    if not isinstance(record, dict) or any(record.get(name) != value for name, value in under.items()):
        return None
    try:
        parities = tuple(Parity(**batch) for batch in record["batches"])
        for parity in parities:
            judge(parity, limits)
    except (KeyError, TypeError, VerificationError):
        return None
    return parities if parities and isinstance(record.get("at"), str) else None
