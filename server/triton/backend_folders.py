"""The backends that this environment can serve with, and the folders that each is put together from."""

from __future__ import annotations

import importlib.util

BACKENDS = {
    "onnxruntime": (("onnxruntime",), ("onnxruntime", "shared")),
    "tensorrt": (("tensorrt", "tensorrt_bindings"), ("tensorrt", "shared")),
    "tensorrt_rtx": (("tensorrt_rtx", "tensorrt_rtx_bindings"), ("tensorrt", "shared")),
}
"""Backend -> the modules, of which the first that is there is its library (plan_library.py imports it; of TensorRT for
RTX, PyPI has the second only), and its folders in server/backends, which Triton reads as one."""

INSTALL = {
    "tensorrt": "pip install tensorrt-cu13 in the server's environment",
    "tensorrt_rtx": "make setup-gpu installs TensorRT for RTX",
}
"""Backend -> how to get its library, where it is not there from the start."""

HERE_ALONE = ("tensorrt_rtx",)
"""Backends that NVIDIA's container lacks."""


def present() -> dict[str, tuple[str, ...]]:
    """The backends whose library is installed beside the launcher -> their folders."""
    found = {
        name: folders for name, (modules, folders) in BACKENDS.items() if any(map(importlib.util.find_spec, modules))
    }
    return {"onnxruntime": BACKENDS["onnxruntime"][1], **found}
