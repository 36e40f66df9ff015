"""What NVIDIA's Triton containers hold, and whether a TensorRT plan made here can be loaded there.

Only releases whose every value is confirmed have a row; a release that is missing here is not a release that fails.
`docker/builder.Dockerfile` asks the image itself instead of this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from builder.errors import BuilderError, TensorRTError

COMPOSE_ENVIRONMENT = Path(__file__).parents[2] / "docker" / ".env"
"""The file that names the release `make serve` starts."""

Version = tuple[int, int, int]
"""Major, minor, patch. A plan is bound to these three; the fourth number is the package's build."""


@dataclass(frozen=True)
class Release:
    """One monthly release of `nvcr.io/nvidia/tritonserver`.

    Attributes:
        tag: YY.MM.
        triton: version of the server.
        tensorrt: major, minor and patch of the libnvinfer inside.
        onnx_runtime: of its C++ backend.
        cuda: toolkit inside.
        min_driver: the oldest NVIDIA driver series that runs it.
        max_ir: the highest ONNX IR version its ONNX Runtime reads.
        max_opset: the highest ai.onnx opset its ONNX Runtime promises to run.
    """

    tag: str
    triton: str
    tensorrt: Version
    onnx_runtime: str
    cuda: str
    min_driver: int
    max_ir: int
    max_opset: int


# Triton and ONNX Runtime: triton-inference-server/server, build.py of branch rYY.MM, DEFAULT_TRITON_VERSION_MAP.
# CUDA: the release's notes (docs.nvidia.com/deeplearning/triton-inference-server/release-notes/rel-YY-MM.html).
# Driver: images on CUDA 13 need R580 (docs.nvidia.com/deploy/cuda-compatibility, "minor version compatibility").
# IR and opset: asked of that version's wheel: onnxruntime refuses the next higher IR, and says up to which opset.
# TensorRT: 26.06, the server's own commits "prepare server for 26.06" (TensorRT 11.0.0, the first 11); the other
# releases as public users of the very image list them (dpkg -l | grep libnvinfer), 26.08 by two that are independent.
RELEASES = {
    release.tag: release
    for release in (
        Release("26.04", "2.68.0", (10, 16, 1), "1.24.4", "13.2.1", 580, 13, 25),
        Release("26.06", "2.70.0", (11, 0, 0), "1.24.4", "13.3.0", 580, 13, 25),
        Release("26.07", "2.71.0", (11, 1, 0), "1.27.0", "13.3.1", 580, 13, 26),
        Release("26.08", "2.72.0", (11, 2, 1), "1.28.0", "13.4.1", 580, 13, 26),
    )
}


def release_named(tag: str) -> Release:
    """Look a release up.

    Raises:
        BuilderError: `tag` is not YY.MM, or the table has no such row.
    """
    if not re.fullmatch(r"\d\d\.\d\d", tag):
        raise BuilderError(f"a Triton release is written YY.MM; found '{tag}'", "as in --triton-release 26.08")
    if tag not in RELEASES:
        raise BuilderError(
            f"which TensorRT Triton {tag} holds is not confirmed here (known: {', '.join(RELEASES)})",
            f"build inside that release's own image, which knows: TRITON_RELEASE={tag} make build-repo-docker",
        )
    return RELEASES[tag]


def compose_release(environment: Path = COMPOSE_ENVIRONMENT) -> str:
    """The release that `make serve` starts, as YY.MM.

    Raises:
        BuilderError: the file does not name one.
    """
    text = environment.read_text() if environment.is_file() else ""
    found = re.search(r"^TRITON_RELEASE=(\S+)$", text, re.MULTILINE)
    if not found:
        raise BuilderError(f"{environment} names no TRITON_RELEASE", "name the release with --triton-release YY.MM")
    return found[1]


def parse_version(text: str) -> Version:
    """Major, minor and patch of a version such as "11.2.1.2", "10.14.1.48.post1" or "11.2.1".

    Raises:
        BuilderError: it does not begin with three numbers.
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)(?!\d)", text)
    if not found:
        raise BuilderError(f"a TensorRT version has three numbers or more, as in 11.2.1; found '{text}'")
    return int(found[1]), int(found[2]), int(found[3])


def version_text(version: Version) -> str:
    """Print a version as "11.2.1"."""
    return ".".join(map(str, version))


def loads(built_with: Version, serving: Version, *, version_compatible: bool) -> bool:
    """Whether a runtime loads a plan, as far as versions decide it.

    A plain plan needs the very version that built it. A version-compatible one also loads on a newer runtime of the
    same major version (TensorRT developer guide, "Version Compatibility"); it costs speed, and the server must be
    started with `--backend-config=tensorrt,version-compatible=true`.
    """
    if built_with == serving:
        return True
    return version_compatible and built_with[0] == serving[0] and built_with <= serving


def preflight(installed: Version, serving: Version, where: str, *, version_compatible: bool = False) -> None:
    """Stop before minutes of building a plan that the server would refuse.

    Args:
        installed: TensorRT here.
        serving: TensorRT in the server.
        where: what that server is, for the message.
        version_compatible: whether the plan will be.

    Raises:
        TensorRTError: the server cannot load what this TensorRT builds.
    """
    if loads(installed, serving, version_compatible=version_compatible):
        return
    raise TensorRTError(
        f"{where} holds TensorRT {version_text(serving)} and loads only plans built with it; "
        f"found TensorRT {version_text(installed)} here",
        f"pip install '{pip_requirement(serving)}', name the release that serves with --triton-release, "
        "or build inside its image: make build-repo-docker",
    )


def pip_requirement(version: Version) -> str:
    """The pip requirement that installs a TensorRT version, whatever its build number."""
    return f"tensorrt-cu13=={version_text(version)}.*"
