"""The Hugging Face layout: one row an image, encoded as PNG or JPEG, and its label."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cifar10.constants import CLASS_NAMES, IMAGE_SHAPE
from cifar10.dataset import JPEG_NAME, LOSSLESS_NAME, Images, Labels
from cifar10.errors import DatasetError
from cifar10.progress import progress
from console.files import mistaken_for

IMAGE_COLUMNS = ("img", "image")
JPEG_MAGIC = b"\xff\xd8\xff"
ROWS_AT_ONCE = 1000


def decode(files: Sequence[Path]) -> tuple[Images, Labels, str]:
    """Decode the shards of a split.

    Args:
        files: parquet files with a column `img` or `image` (struct of `bytes` and optionally `path`) and `label`.

    Returns:
        Images uint8 [N, 32, 32, 3], labels int64 [N], and the dataset's name: a JPEG copy is called one.

    Raises:
        DatasetError: a file or a row is damaged, or is not CIFAR-10.
    """
    shards = [_decode_file(file) for file in files]
    images, labels, names = zip(*shards, strict=True)
    name = JPEG_NAME if JPEG_NAME in names else LOSSLESS_NAME
    if len(shards) == 1:
        return images[0], labels[0], name
    return np.concatenate(images), np.concatenate(labels), name


def _decode_file(file: Path) -> tuple[Images, Labels, str]:
    with file.open("rb") as stream:
        with _arrow_errors(file):
            reader, columns = _open(stream, file)
        count = reader.metadata.num_rows
        images = np.empty((count, *IMAGE_SHAPE), np.uint8)
        labels = np.empty(count, np.int64)
        name = LOSSLESS_NAME
        with progress(f"decoding {file.name}", total=count) as advance:
            for row, (image, label) in enumerate(_rows(reader, columns, file)):
                try:
                    encoded, path = _encoded(image)
                    labels[row] = _checked_label(label, path)
                    images[row] = _decode_image(encoded)
                except ValueError as error:
                    raise DatasetError(
                        f"{file}, row {row} (the first is 0): {error}",
                        "the file is damaged or is not CIFAR-10: replace it",
                    ) from error
                if encoded.startswith(JPEG_MAGIC):
                    name = JPEG_NAME
                advance(1)
    return images, labels, name


def _open(stream: io.BufferedReader, file: Path) -> tuple[Any, list[str]]:
    """Return the reader and the names of the image and the label column."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    reader = ParquetFile(stream)
    schema = reader.schema_arrow
    found = f"found {', '.join(f'{field.name} ({field.type})' for field in schema) or 'no columns'}"
    column = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    if {"fine_label", "coarse_label"} & set(schema.names):
        raise DatasetError(f"{file} is CIFAR-100 (its labels are fine_label and coarse_label)", "take CIFAR-10's files")
    if column is None or "label" not in schema.names:
        raise DatasetError(f"{file} lacks a column: expected img or image, and label; {found}")
    image = schema.field(column).type
    part = pa.types.is_struct(image) and {field.name: field.type for field in image}.get("bytes")
    if not part or not (pa.types.is_binary(part) or pa.types.is_large_binary(part)):
        raise DatasetError(f"{file}: column {column} must be a struct with the field bytes (binary); {found}")
    if not pa.types.is_integer(schema.field("label").type):
        raise DatasetError(f"{file}: column label must hold integers; {found}")
    if reader.metadata.num_rows == 0:
        raise DatasetError(f"{file} has no rows", "replace it; the split is empty")
    return reader, [column, "label"]


def _rows(reader: Any, columns: list[str], file: Path) -> Iterator[tuple[dict[str, Any] | None, int | None]]:
    batches = reader.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns)
    while True:
        with _arrow_errors(file):
            batch = next(batches, None)
            if batch is None:
                return
            rows = [batch.column(name).to_pylist() for name in columns]
        yield from zip(*rows, strict=True)


@contextlib.contextmanager
def _arrow_errors(file: Path) -> Iterator[None]:
    """Arrow tells of a damaged file with ArrowException or, from a decompressor, OSError."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError) as error:
        what, hint = mistaken_for(file)
        reason = f"it is {what}" if what not in ("", "a Parquet file") else str(error).splitlines()[0].rstrip(".")
        hint = hint or "it is truncated, damaged or not a parquet file: replace it"
        raise DatasetError(f"{file} cannot be read as parquet: {reason}", hint) from error


def _encoded(image: dict[str, Any] | None) -> tuple[bytes, str | None]:
    """Return the encoded image and the path it once had."""
    if image is None or not image["bytes"]:
        raise ValueError("there is no image (null or empty bytes)")
    return image["bytes"], image.get("path")


def _checked_label(label: int | None, path: str | None) -> int:
    """Check a label's range and, where `path` names a class folder ("frog/123.jpg"), that the two agree."""
    if label is None or not 0 <= label < len(CLASS_NAMES):
        raise ValueError(f"label must be 0..{len(CLASS_NAMES) - 1}; found {'null' if label is None else label}")
    folder = Path(path or "").parent.name
    if folder in CLASS_NAMES and folder != CLASS_NAMES[label]:
        raise ValueError(f"mislabelled: the label is {label} ({CLASS_NAMES[label]}), but the image's path is {path}")
    return label


def _decode_image(encoded: bytes) -> Images:
    from PIL import Image

    height, width, _ = IMAGE_SHAPE
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            kind = (image.mode, image.size)
            # Before the pixels are decoded: a damaged header may announce a picture that fills the memory.
            pixels = np.asarray(image) if kind == ("RGB", (width, height)) else None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        raise ValueError(f"the image cannot be decoded as PNG or JPEG: {error}") from error
    if pixels is None:
        raise ValueError(f"the image must be RGB, {width} x {height}; found {kind[0]}, {kind[1][0]} x {kind[1][1]}")
    return pixels
