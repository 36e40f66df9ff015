from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from builder.errors import CalibrationError
from builder.quantization import calibration, onnx_runtime, ranges
from builder.variants import Precision
from console.files import sha256_file


def test_a_file_reads_back_as_what_was_written(calibrated, tmp_path):
    path = tmp_path / "a b" / "net.calibration.json"
    calibration.save(path, calibrated)
    assert calibration.load(path, calibrated.checkpoint_sha256) == calibrated


def test_it_lies_beside_the_checkpoint(tmp_path):
    assert calibration.beside(tmp_path / "best.safetensors") == tmp_path / "best.calibration.json"
    assert calibration.beside(tmp_path / "odd.name") == tmp_path / "odd.name.calibration.json"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no calibration at"),
        (b"", "is not a calibration"),
        (b"\xff\xfe", "is not a calibration"),
        (b"[1]", "is not a calibration"),
        (b'{"format": 2}', "expected format 1"),
        (b'{"format": 1, "ranges": {"a": [2, 1]}}', "[2.0, 1.0] is not a range"),
        (b'{"format": 1, "ranges": {"a": [NaN, 1]}}', "[nan, 1.0] is not a range"),
        (b'{"format": 1, "ranges": {}}', "is not a calibration"),
    ],
)
def test_what_is_no_calibration_is_said_with_what_to_do(tmp_path, content, said):
    path = tmp_path / "x.calibration.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalibrationError) as error:
        calibration.load(path, "0" * 64, "do that")
    assert said in str(error.value)
    assert error.value.hint == "do that"


def test_another_checkpoints_is_refused(calibrated, tmp_path):
    calibration.save(tmp_path / "c.json", calibrated)
    with pytest.raises(CalibrationError, match="belongs to another checkpoint"):
        calibration.load(tmp_path / "c.json", "f" * 64)


def test_the_shipped_one_belongs_to_the_shipped_checkpoint():
    from builder.__main__ import DEFAULT_CHECKPOINT

    found = calibration.load(calibration.beside(DEFAULT_CHECKPOINT), sha256_file(DEFAULT_CHECKPOINT))
    assert found.images >= 512
    assert found.method == str(ranges.METHOD)


def test_a_range_holds_what_the_tensor_held(exported, training):
    """Min-max against the values that ONNX Runtime itself gives for a tensor in the middle of the graph."""
    import onnxruntime

    model = onnx.load_from_string(exported[Precision.FP32])
    name = next(node for node in model.graph.node if node.op_type == "Add" and node.output[0] != "add_15").output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run([name], {"images": training.images})
    low, high = ranges.ranges_of(exported[Precision.FP32], training.images, ranges.Method("minmax"))[name]
    np.testing.assert_allclose((low, high), (values.min(), values.max()), rtol=1e-4)


@pytest.mark.parametrize("method", [ranges.Method("percentile", 99), ranges.Method("percentile", 99.9)])
def test_a_percentile_cuts_the_tails_off(exported, training, method):
    whole = ranges.ranges_of(exported[Precision.FP32], training.images, ranges.Method("minmax"))
    cut = ranges.ranges_of(exported[Precision.FP32], training.images, method)
    assert set(cut) == set(whole)
    assert all(high <= whole[name][1] * 1.001 for name, (_, high) in cut.items())
    assert cut != whole


def test_a_tensor_without_a_range_is_named(exported, calibrated):
    gone = next(name for name in calibrated.ranges if name.startswith("conv2d"))
    poorer = replace(calibrated, ranges={n: r for n, r in calibrated.ranges.items() if n != gone})
    with pytest.raises(CalibrationError, match=f"no range for 1 of the graph's tensors: {gone}"):
        onnx_runtime.quantize(exported[Precision.FP32], poorer)


def test_no_images_and_activations_that_are_no_numbers_are_errors(source, exported, training):
    with pytest.raises(CalibrationError, match="needs training images"):
        ranges.measure(exported[Precision.FP32], source.sha256, training.head(0))
    model = onnx.load_from_string(exported[Precision.FP32])
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "net.conv1.weight")
    broken = onnx.numpy_helper.to_array(weight).copy()
    broken[0, 0, 0, 0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(broken, weight.name))
    with pytest.raises(CalibrationError, match="calibrated"):
        ranges.measure(model.SerializeToString(), source.sha256, training)


def test_the_file_is_small_and_a_person_can_read_it(calibrated, tmp_path):
    calibration.save(tmp_path / "c.json", calibrated)
    text = (tmp_path / "c.json").read_text()
    assert len(text) < 10_000
    assert len(text.splitlines()) > len(json.loads(text)["ranges"])
