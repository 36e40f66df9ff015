"""Where an instance may run, on a machine whose ONNX Runtime has no CUDA: the refusals need no GPU."""

from __future__ import annotations

import onnxruntime
import pytest

from tests.support import graphs

CONFIG = {"parameters": {}}


@pytest.fixture
def providers(backend):
    module = backend("providers")
    if module.CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA; tests/server/backends/onnxruntime/gpu covers it")
    return module


def test_a_demanded_gpu_is_not_replaced_by_the_cpu(providers):
    with pytest.raises(ValueError, match=r"KIND_GPU, but this ONNX Runtime .* has no CUDA provider; install onnx"):
        providers.choose_providers(CONFIG, "GPU", 0, gpu_demanded=True)


def test_an_automatic_kind_may_take_the_cpu(providers):
    assert providers.choose_providers(CONFIG, "GPU", 0, gpu_demanded=False) == [(providers.CPU, {})]


def test_a_session_that_fell_back_is_refused(providers, tmp_path):
    wanted = [(providers.CUDA, {"device_id": "0"}), (providers.CPU, {})]
    session = onnxruntime.InferenceSession(graphs.vector(tmp_path / "model.onnx"), providers=[providers.CPU])
    with pytest.raises(ValueError, match="should run on CUDAExecutionProvider, but ONNX Runtime took CPU"):
        providers.check_providers(session, wanted)
    providers.check_providers(session, [(providers.CPU, {})])


@pytest.mark.parametrize(
    ("text", "demanded"),
    [
        ("instance_group { kind: KIND_GPU }", True),
        ("instance_group [ { count: 2\n kind : KIND_GPU gpus: [0] } ]", True),
        ("instance_group { kind: KIND_AUTO }", False),
        ("instance_group { count: 2 }", False),
        ("# kind: KIND_GPU would need one\ninstance_group { kind: KIND_CPU }", False),
    ],
)
def test_who_wrote_kind_gpu(providers, tmp_path, text, demanded):
    (tmp_path / "config.pbtxt").write_text(text)
    assert providers.demands_gpu(tmp_path) is demanded


def test_the_configuration_that_is_read_says_who_wrote_kind_gpu(providers, tmp_path, monkeypatch):
    (tmp_path / "config.pbtxt").write_text("instance_group { kind: KIND_AUTO }")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "gpu_embedded.pbtxt").write_text("instance_group { kind: KIND_GPU }")
    for name, demanded in (("gpu_embedded", True), ("cpu", False), ("", False)):
        monkeypatch.setenv("TRITON_MODEL_CONFIG_NAME", name)
        assert providers.demands_gpu(tmp_path) is demanded


def test_without_a_configuration_nothing_is_demanded(providers, tmp_path):
    assert providers.demands_gpu(tmp_path) is False


SEARCH = "cudnn_conv_algo_search"


@pytest.mark.parametrize(
    ("parameters", "accelerator", "search"),
    [
        ({}, {}, "EXHAUSTIVE"),
        ({}, {SEARCH: "DEFAULT"}, "DEFAULT"),
        ({SEARCH: "1"}, {SEARCH: "DEFAULT"}, "HEURISTIC"),
    ],
)
def test_cuda_options_come_from_accelerator_and_parameters(providers, monkeypatch, parameters, accelerator, search):
    config = {
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        "optimization": {
            "execution_accelerators": {
                "gpu_execution_accelerator": [{"name": "cuda", "parameters": {"prefer_nhwc": "1", **accelerator}}]
            }
        },
    }
    available = [providers.CUDA, providers.CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    (name, options), fallback = providers.choose_providers(config, "GPU", 3, gpu_demanded=True)
    assert (name, fallback) == (providers.CUDA, (providers.CPU, {}))
    assert options["device_id"] == "3"
    assert options["prefer_nhwc"] == "1"
    assert options["cudnn_conv_algo_search"] == search


@pytest.mark.parametrize(
    ("parameters", "accelerator", "said"),
    [
        ({SEARCH: "3"}, {}, "cudnn_conv_algo_search: expected one of 0 to 2, found 3"),
        ({"arena_extend_strategy": "2"}, {}, "arena_extend_strategy"),
        ({}, {"name": "cuda", "parameters": {"do_copy_in_default_stream": "5"}}, "expected true.*found '5'"),
        ({}, {"name": "rocm"}, "unknown execution accelerator 'rocm'"),
        ({}, {"name": "tensorrt"}, "'tensorrt'.*NVIDIA's container has it"),
    ],
)
def test_what_is_set_for_a_gpu_is_checked_where_an_instance_has_one(providers, parameters, accelerator, said):
    config = {
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        "optimization": {"execution_accelerators": {"gpu_execution_accelerator": [accelerator] if accelerator else []}},
    }
    with pytest.raises(ValueError, match=said):
        providers.choose_providers(config, "GPU", 0, gpu_demanded=True)
    assert providers.choose_providers(config, "CPU", 0, gpu_demanded=False) == [(providers.CPU, {})]
