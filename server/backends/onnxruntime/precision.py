"""How exactly this processor computes a quantised model: what the file says, and what the processor has."""

from __future__ import annotations

import mmap
from pathlib import Path

_QUANTISED = (b"QuantizeLinear", b"DynamicQuantizeLinear", b"QLinearConv", b"QLinearMatMul", b"ConvInteger",
              b"MatMulInteger")  # fmt: skip
_WEIGHT_BITS = "quantized_weight_bits"
"""The builder's entry among a model's metadata."""


def is_quantised(path: Path) -> bool:
    """Whether a model computes with integers, which not every processor does alike (U8S8 products saturate on some).

    An operator's name stands in the file as text: field 4 of an ONNX node, behind its length.
    """
    return _holds(path, *(bytes([0x22, len(name)]) + name for name in _QUANTISED))


def needs_exact_kernels(path: Path, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor's usual kernels may saturate for this model: not where its weights have seven bits."""
    return sums_may_saturate(cpuinfo) and is_quantised(path) and not _holds(path, _metadata(_WEIGHT_BITS, "7"))


def sums_may_saturate(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is an x86 processor without VNNI or AMX: it adds products of U8 and S8 in 16 bits (VPMADDUBSW)."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return bool(flags) and not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(flags)


def _metadata(key: str, value: str) -> bytes:
    """An entry as it stands in an ONNX file: fields 1 and 2 of a StringStringEntryProto, each behind its length."""
    return bytes([0x0A, len(key)]) + key.encode() + bytes([0x12, len(value)]) + value.encode()


def _holds(path: Path, *texts: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(text) >= 0 for text in texts)
