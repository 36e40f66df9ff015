"""torchvision's model zoo, also beside a CPU build of PyTorch.

PyPI has no CPU build of torchvision. Beside a CPU-only PyTorch its compiled operators do not load, and importing it
dies at a decorator that looks up the operators' schemas ("operator torchvision::nms does not exist"). The models
need no compiled operator, so declaring the two schemas is enough.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch

_MISSING_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # the schemas live as long as this object


def torchvision_models() -> ModuleType:
    """Import and return `torchvision.models`."""
    global _library
    try:
        import torchvision.models
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")
        for schema in _MISSING_SCHEMAS:
            _library.define(schema)
        import torchvision.models
    return torchvision.models  # type: ignore[no-any-return]
