"""A model is held against its reference where it runs; the logits here are a sum that only its own image gives."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.references import write_reference

IMAGES = np.random.default_rng(0).integers(0, 255, (20, 2, 3), np.uint8)
BATCHES = [[1], [7], [3, 1, 5], [16]]
CONFIG = {"max_batch_size": 64}
OFF = {**CONFIG, "parameters": {"reference_check": {"string_value": "off"}}}


def network(images: np.ndarray) -> np.ndarray:
    """FP32 [N, 6]: the image's numbers, scaled."""
    return images.reshape(len(images), 6).astype(np.float32) / 16


def answer(change=lambda logits: logits):
    """A model that runs a batch as a whole, changed by `change`, and takes it apart again."""

    def infer(requests):
        lengths = np.cumsum([len(images) for images in requests])[:-1]
        return np.split(change(network(np.concatenate(requests))), lengths)

    return infer


@pytest.fixture
def check(backend):
    return backend("reference_check")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a model")
    write_reference(path, IMAGES, network(IMAGES))
    return path


def test_a_model_that_computes_the_network_is_proved(check, model):
    found = check.prove(model, CONFIG, answer(), BATCHES)
    assert found.startswith("proved: 33 answers")


def test_every_answer_is_compared_with_that_of_its_own_image(check, model):
    asked = []

    def infer(requests):
        asked.extend(requests)
        return answer()(requests)

    check.prove(model, CONFIG, infer, BATCHES)
    assert [len(images) for images in asked] == [1, 7, 3, 1, 5, 16]
    assert np.array_equal(np.concatenate(asked), IMAGES[np.arange(33) % 20])


def shift(logits):
    return np.roll(logits, 1, axis=0)


def last_wrong(logits):
    return np.concatenate([logits[:-1], -logits[-1:]])


def not_a_number(logits):
    return np.where(np.arange(len(logits))[:, None] == 0, np.nan, logits)


@pytest.mark.parametrize("change", [shift, last_wrong, not_a_number, lambda logits: logits + 1, np.zeros_like])
def test_a_model_that_computes_something_else_is_refused(check, model, change):
    with pytest.raises(ValueError, match=r"computes something else .* parameter reference_check"):
        check.prove(model, CONFIG, answer(change), BATCHES)


def test_answers_of_another_shape_are_refused(check, model):
    with pytest.raises(ValueError, match=r"expected logits \[1, 6\], found \[1, 5\]"):
        check.prove(model, CONFIG, answer(lambda logits: logits[:, :5]), BATCHES)


@pytest.mark.parametrize(
    ("top1", "others", "refused"),
    [(1.0, 1, True), (0.998, 1, False), (0.998, 2, True), (0.9, 6, False), (0.9, 7, True)],
)
def test_so_many_images_may_be_given_another_class(check, model, top1, others, refused):
    write_reference(model, IMAGES, network(IMAGES), relative=10, top1=top1)

    def change(logits):
        rows = np.isin(logits, network(IMAGES[:others])).all(axis=1)
        return np.where(rows[:, None], -logits, logits)

    if refused:
        with pytest.raises(ValueError, match=f"{others} images are given another class"):
            check.prove(model, CONFIG, answer(change), BATCHES)
    else:
        assert f"another class for {others} images" in check.prove(model, CONFIG, answer(change), BATCHES)


def damaged(path):
    path.write_bytes(path.read_bytes()[:-40])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 40] = bytes(40)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read|damaged"),
        (lambda path: path.write_bytes(b"not a zip"), "cannot be read|damaged"),
        (damaged, "cannot be read|damaged"),
        (flipped, "cannot be read|damaged"),
        (lambda path: (path.unlink(), path.mkdir()), ""),
        (lambda path: path.with_name("model.onnx").write_bytes(b"another"), "reference of another model: expected"),
    ],
    ids=["empty", "not_a_zip", "truncated", "flipped", "a_folder", "another_model"],
)
def test_a_reference_that_proves_nothing_is_refused(check, model, spoil, said):
    spoil(model.with_name("reference.npz"))
    if not said:
        assert check.prove(model, CONFIG, answer(), BATCHES).startswith("not proved: there is no reference.npz")
        return
    with pytest.raises(ValueError, match=said):
        check.prove(model, CONFIG, answer(), BATCHES)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": None}, "holds no array 'images'"),
        ({"model_sha256": None}, "holds no array 'model_sha256'"),
        ({"logits": np.zeros((19, 6), np.float32)}, r"found images uint8 \[20, 2, 3\] and logits float32 \[19, 6\]"),
        ({"logits": np.zeros((20, 6))}, "logits float64"),
        ({"logits": np.full((20, 6), np.nan, np.float32)}, "finite logits"),
        ({"images": np.zeros((0, 2, 3)), "logits": np.zeros((0, 6), np.float32)}, r"images float64 \[0, 2, 3\]"),
    ],
)
def test_a_reference_with_other_arrays_is_refused(check, model, arrays, said):
    write_reference(model, **{"images": IMAGES, "logits": network(IMAGES), **arrays})
    with pytest.raises(ValueError, match=said):
        check.prove(model, CONFIG, answer(), BATCHES)


def test_without_a_reference_a_model_is_served_unproved(check, model):
    model.with_name("reference.npz").unlink()
    assert (
        check.prove(model, CONFIG, answer(shift), BATCHES) == "not proved: there is no reference.npz beside model.onnx"
    )


def test_an_older_reference_proves_nothing_and_stops_nothing(check, model):
    write_reference(
        model, IMAGES, network(IMAGES), max_relative_difference=None, min_top1_agreement=None, model_sha256=None
    )
    assert "older builder" in check.prove(model, CONFIG, answer(shift), BATCHES)


def test_the_check_can_be_switched_off_except_where_it_must_not(check, model):
    assert "not proved" in check.prove(model, OFF, answer(shift), BATCHES)
    with pytest.raises(ValueError, match="a quantised model is always held against its reference"):
        check.prove(model, OFF, answer(), BATCHES, always=True)
    config = {**CONFIG, "parameters": {"reference_check": {"string_value": "no"}}}
    with pytest.raises(ValueError, match="expected on or off, found 'no'"):
        check.prove(model, config, answer(), BATCHES)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_batch_size": 256}, [[1], [7], [3, 1, 5], [47]]),
        ({"max_batch_size": 8}, [[1], [7]]),
        ({"max_batch_size": 0, "input": [{"dims": [-1, 2, 3]}]}, [[1], [7], [3], [1], [5], [47]]),
        ({"max_batch_size": 0, "input": [{"dims": [4, 2, 3]}]}, [[4]]),
    ],
)
def test_no_request_is_larger_than_the_model_takes(check, config, expected):
    assert check.batches_on_cpu(config) == expected
