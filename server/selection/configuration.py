"""A model's configuration, read and filled in as Triton's core does it (`src/model_config_utils.cc`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from console.triton_configuration import BYTE_ORDER_MARK, without_mark

ENSEMBLE = "ensemble"

PLATFORMS = {
    "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    ENSEMBLE: ENSEMBLE,
}
FILES = {
    "model.savedmodel": "tensorflow",
    "model.graphdef": "tensorflow",
    "model.plan": "tensorrt",
    "model.onnx": "onnxruntime",
    "model.xml": "openvino",
    "model.pt": "pytorch",
    "model.py": "python",
}
"""A model's file -> the backend that core takes it for, in its order."""


class MarkedError(ValueError):
    """A configuration begins with a byte-order mark; `hint` says how to take it off."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} begins with a byte-order mark, which Triton does not read")
        self.hint = without_mark(path)


def read(path: Path) -> Any:
    """Parse a configuration's file; where there is none, an empty configuration.

    Raises:
        MarkedError: it begins with a byte-order mark.
        ValueError: it is not a model configuration; says what and where.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig()
    if not path.is_file():
        return config
    text = path.read_text(encoding="utf-8", errors="surrogateescape")  # a comment may be in any encoding
    if text.startswith(BYTE_ORDER_MARK):
        raise MarkedError(path)
    try:
        return text_format.Parse(text, config)
    except text_format.ParseError as error:
        line = error.GetLine() or 1
        foreign = _is_foreign(text.split("\n")[line - 1])
        what = f"line {line} is not UTF-8 text" if foreign else str(error)
        raise ValueError(f"{path} is not a Triton model configuration: {what}") from None


def _is_foreign(line: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in line)  # what was not UTF-8, as it was read


def backend_of(config: Any, directory: Path) -> str:
    """The backend that a model is served by; empty where core does not know either."""
    if config.backend:
        return str(config.backend)
    if config.platform:
        return PLATFORMS.get(config.platform, str(config.platform))
    if config.default_model_filename:
        return FILES.get(config.default_model_filename, "")
    files = _files_of_first_version(directory)
    found = next((backend for file, backend in FILES.items() if file in files), "")
    return found or directory.name.partition(".")[2]  # core's rule for backends of one's own: model.NAME


def is_model(directory: Path) -> bool:
    """Whether a directory looks like a model: it has a configuration, or a version with a model's file."""
    return (directory / "config.pbtxt").is_file() or bool(_files_of_first_version(directory) & set(FILES))


def _files_of_first_version(directory: Path) -> set[str]:
    try:
        versions = sorted(path for path in directory.iterdir() if path.is_dir())
        return {path.name for path in versions[0].iterdir()} if versions else set()
    except OSError:
        return set()
