"""What this machine's processor can do: 8-bit kernels differ in speed, and on old ones in their sums."""

from __future__ import annotations

from pathlib import Path

INTEGER_EXTENSIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512bw", "avx2", "asimddp", "asimd")
"""Extensions that 8-bit kernels are written for, as Linux names them, the best first; asimd is Arm's."""


def model_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself; "unknown" where that cannot be read, as on most of Arm's."""
    return next((line.split(":", 1)[1].strip() for line in _lines(cpuinfo) if line.startswith("model name")), "unknown")


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Which of `INTEGER_EXTENSIONS` the processor has; empty where that cannot be read."""
    named = ("flags", "Features")
    flags = next((line.split(":", 1)[1].split() for line in _lines(cpuinfo) if line.startswith(named)), [])
    return [name for name in INTEGER_EXTENSIONS if name in flags]


def _lines(cpuinfo: Path) -> list[str]:
    try:
        return cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return []
