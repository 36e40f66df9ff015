"""What the backend tells ONNX Runtime because of the processor."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

PROCESSORS = {
    "AVX2": ("flags\t\t: fpu avx2 fma\n", True),
    "AVX-512": ("flags\t\t: fpu avx2 avx512f avx512bw\n", True),
    "AVX-512 VNNI": ("flags\t\t: fpu avx2 avx512bw avx512_vnni\n", False),
    "AVX VNNI": ("flags\t\t: fpu avx2 avx_vnni\n", False),
    "AMX": ("flags\t\t: fpu avx2 amx_int8\n", False),
    "Arm": ("Features\t: fp asimd\n", False),
    "unknown": ("", False),
}
MODELS = {
    "FP32": ("Relu", {}, False),
    "FP32 that says seven bits": ("Relu", {"quantized_weight_bits": "7"}, False),
    "eight bits": ("DynamicQuantizeLinear", {"quantized_weight_bits": "8"}, True),
    "seven bits": ("DynamicQuantizeLinear", {"quantized_weight_bits": "7"}, False),
    "seven bits among others": ("DynamicQuantizeLinear", {"a": "8", "quantized_weight_bits": "7", "z": "8"}, False),
    "somebody else's": ("DynamicQuantizeLinear", {}, True),
    "another entry": ("DynamicQuantizeLinear", {"my_quantized_weight_bits_": "7"}, True),
}


@pytest.fixture
def written(tmp_path):
    def write(operator: str, metadata: dict[str, str]):
        outputs = ["y"] if operator == "Relu" else ["y", "scale", "zero"]
        kind = TensorProto.FLOAT if operator == "Relu" else TensorProto.UINT8
        value = helper.make_tensor_value_info
        graph = helper.make_graph([helper.make_node(operator, ["x"], outputs)], "g",
                                  [value("x", TensorProto.FLOAT, [1])], [value("y", kind, [1])])  # fmt: skip
        model = helper.make_model(graph)
        helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_slow_exact_kernels_are_asked_for_only_where_sums_may_saturate(backend, tmp_path, written, processor, model):
    precision = backend("precision")
    (flags, may_saturate), (operator, metadata, wide) = PROCESSORS[processor], MODELS[model]
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(flags)
    assert precision.sums_may_saturate(cpuinfo) is may_saturate
    assert precision.needs_exact_kernels(written(operator, metadata), cpuinfo) is (may_saturate and wide)


def test_a_processor_that_says_nothing_gets_the_default(backend, tmp_path):
    assert backend("precision").sums_may_saturate(tmp_path / "missing") is False


@pytest.mark.parametrize("exact", [True, False])
def test_a_session_gets_what_the_processor_needs(backend, written, monkeypatch, exact):
    session, asked = backend("session"), []
    monkeypatch.setattr(session, "needs_exact_kernels", lambda path: exact)
    monkeypatch.setattr(session, "open_session", lambda path, options, providers: asked.append(options))
    monkeypatch.setattr(session, "check_signature", lambda config, opened: None)
    path = written("Relu", {})
    (path.parent / "1").mkdir()
    path.rename(path.parent / "1" / "model.onnx")
    session.make_session(path.parent, "1", {"parameters": {}}, "CPU", 0)
    if exact:
        assert asked[0].get_session_config_entry("session.x64quantprecision") == "1"
    else:
        with pytest.raises(RuntimeError):
            asked[0].get_session_config_entry("session.x64quantprecision")
