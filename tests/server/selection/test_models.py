from __future__ import annotations

import importlib.metadata
import subprocess

import pytest

from server.errors import ServerError
from server.selection.models import select_models
from server.selection.places import config_name
from tests.support.models import add_model, tensor

BOTH = "optimization { cuda { graphs: true output_copy_stream: true } }"
IO = "\n" + tensor("input", "x", "TYPE_FP32", [1]) + tensor("output", "y", "TYPE_FP32", [1])


def test_a_missing_repository(tmp_path):
    with pytest.raises(ServerError, match="no model repository") as error:
        select_models(tmp_path / "models")
    assert "make build-repo" in error.value.hint


def test_an_empty_repository(tmp_path):
    (tmp_path / "README.md").write_text("files are not models")
    with pytest.raises(ServerError, match="holds no models"):
        select_models(tmp_path)


def test_what_cannot_be_served_is_left_out_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("server.selection.models.has_gpu", lambda: False)
    add_model(tmp_path, "onnx", 'platform: "onnxruntime_onnx"' + IO)
    add_model(tmp_path, "plan", 'platform: "tensorrt_plan"')
    add_model(tmp_path, "backend", 'backend: "tensorrt"')
    add_model(tmp_path, "gpu", IO + 'backend: "onnxruntime" instance_group { kind: KIND_GPU }')
    (tmp_path / "stray").mkdir()
    selection = select_models(tmp_path)
    assert selection.served == ("onnx",)
    assert selection.left_out == {
        "plan": "the embedded server has no tensorrt backend",
        "backend": "the embedded server has no tensorrt backend",
        "gpu": "its instances are KIND_GPU and this machine has no NVIDIA GPU",
        "stray": "it has no config.pbtxt, and no version with a model",
    }


def test_nothing_that_can_be_served_is_an_error(tmp_path):
    add_model(tmp_path, "plan", 'platform: "tensorrt_plan"')
    with pytest.raises(ServerError, match="plan: the embedded server has no tensorrt backend"):
        select_models(tmp_path)


def test_what_nvidia_s_container_cannot_serve_either_is_not_sent_there(tmp_path, monkeypatch):
    monkeypatch.setattr("server.selection.models.has_gpu", lambda: False)
    add_model(tmp_path, "plan", 'backend: "tensorrt_rtx" instance_group { kind: KIND_GPU }')
    with pytest.raises(ServerError, match="plan: ") as error:
        select_models(tmp_path)
    assert "container" not in error.value.hint
    assert "make setup-gpu" in error.value.hint


def test_a_wanted_model_must_exist_and_be_served(tmp_path):
    add_model(tmp_path, "onnx", 'platform: "onnxruntime_onnx"' + IO)
    add_model(tmp_path, "plan", 'platform: "tensorrt_plan"')
    assert select_models(tmp_path, ["onnx"]).served == ("onnx",)
    with pytest.raises(ServerError, match="no model 'typo'") as error:
        select_models(tmp_path, ["typo"])
    assert "onnx, plan" in error.value.hint
    with pytest.raises(ServerError, match="no tensorrt backend"):
        select_models(tmp_path, ["onnx", "plan"])


def test_an_onnx_model_needs_no_configuration_where_triton_completes_it(tmp_path):
    (tmp_path / "bare" / "1").mkdir(parents=True)
    (tmp_path / "bare" / "1" / "model.onnx").write_bytes(b"a model")
    add_model(tmp_path, "unnamed", "max_batch_size: 4").write_bytes(b"a model")
    (tmp_path / "stray").mkdir()
    selection = select_models(tmp_path, auto_complete=True)
    assert selection.served == ("bare", "unnamed")
    assert set(selection.left_out) == {"stray"}
    with pytest.raises(ServerError, match=r"bare: it has no config\.pbtxt") as error:
        select_models(tmp_path)
    assert "--auto-complete-config" in error.value.hint


def write(repository, name: str, config: str | bytes | None, file: str = "model.onnx"):
    """A model with this configuration, as it stands or none, and a file of this name."""
    path = repository / name / "1" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a model")
    if config is not None:
        content = config.encode() if isinstance(config, str) else config
        (repository / name / "config.pbtxt").write_bytes(content)


SERVED = {
    "platform": ('platform: "onnxruntime_onnx"' + IO, "model.onnx"),
    "backend": ('backend: "onnxruntime"' + IO, "model.onnx"),
    "by_its_file": (IO, "model.onnx"),
    "by_the_name_of_its_file": ('default_model_filename: "model.onnx"' + IO, "other"),
    "python_by_its_file": ("", "model.py"),
    "umlauts_in_a_comment": ("# größe\n" + IO, "model.onnx"),
    "chinese_in_a_string": ('parameters { key: "作者" value { string_value: "王" } }' + IO, "model.onnx"),
    "umlauts_in_a_tensor": (IO.replace('"x"', '"größe"'), "model.onnx"),
    "latin_1_in_a_comment": (b"# gr\xf6\xdfe\n" + IO.encode(), "model.onnx"),
    "latin_1_in_a_string": (b'parameters { key: "gr\xf6\xdfe" }' + IO.encode(), "model.onnx"),
    "numbers_as_c_writes_them": ("optimization { cuda { graphs: 0x1 } } max_batch_size: 010" + IO, "model.onnx"),
    "carriage_returns": (IO.replace("\n", "\r\n"), "model.onnx"),
    "sequences": ("sequence_batching { }" + IO, "model.onnx"),
}
LEFT_OUT = {
    "other_backend": ('platform: "tensorrt_plan"', "model.plan", "no tensorrt backend", "make serve"),
    "plan_by_its_file": ("", "model.plan", "no tensorrt backend", "make serve"),
    "unknown_platform": ('platform: "caffe"', "net", "no caffe backend", "make serve"),
    "no_backend": (IO, "net", "its config.pbtxt names none", "correct it"),
    "empty": ("", "model.onnx", "names no inputs or no outputs", "--auto-complete-config"),
    "no_outputs": (
        tensor("input", "x", "TYPE_FP32", [1]),
        "model.onnx",
        "names no inputs or",
        "--auto-complete-config",
    ),
    "no_configuration": (None, "model.onnx", "it has no config.pbtxt", "--auto-complete-config"),
    "unknown_field": (f"max_batchsize: 4{IO}", "model.onnx", r"config\.pbtxt .*1:1.*max_batchsize", "correct it"),
    "byte_order_mark": (f"\ufeff{IO}", "model.onnx", "begins with a byte-order mark", r"sed -i '1s/^\xef\xbb\xbf//'"),
    "no_break_space": ('# 1\nname:\u00a0"a"', "model.onnx", "2:6: .*is not ASCII", "correct it"),
    "line\nend": (IO, "model.onnx", r"its name holds '\\n'", "rename"),
    "*": (IO, "model.onnx", "its name is Triton's own", "rename"),
}


@pytest.mark.parametrize("name", SERVED)
def test_what_core_fills_in_and_any_text_is_served(name, tmp_path):
    write(tmp_path, name, *SERVED[name])
    assert select_models(tmp_path).served == (name,)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_whatever_the_reason_a_model_is_left_out_and_the_hint_helps(name, tmp_path):
    config, file, said, hint = LEFT_OUT[name]
    write(tmp_path, name, config, file)
    write(tmp_path, "good", IO)
    assert select_models(tmp_path).served == ("good",)
    for repository, wanted in ((tmp_path, [name]), (alone(tmp_path, name), [])):
        with pytest.raises(ServerError, match=said) as error:
            select_models(repository, wanted)
        assert hint in error.value.hint
        assert str(error.value).isprintable()


def test_the_hint_against_a_byte_order_mark_takes_it_off(tmp_path):
    """Whoever wrote the model: no build of this project's would make it again."""
    write(tmp_path, "it's marked", f"\ufeff{IO}", "model.onnx")
    write(tmp_path, "good", IO)
    reason = select_models(tmp_path).reasons["it's marked"]
    assert "make build-repo" not in reason.hint
    subprocess.run(["bash", "-c", reason.hint.split(": ", 1)[1]], check=True, timeout=60)
    assert "it's marked" in select_models(tmp_path).served


def alone(repository, name: str):
    directory = repository.parent / "alone"
    directory.mkdir(exist_ok=True)
    (directory / name).symlink_to(repository / name)
    return directory


def ensemble(*steps: str) -> str:
    inside = " ".join(f'step {{ model_name: "{step}" model_version: -1 }}' for step in steps)
    return f'platform: "ensemble" ensemble_scheduling {{ {inside} }}' + IO


def test_an_ensemble_is_left_out_where_a_step_is(tmp_path):
    write(tmp_path, "onnx", IO)
    write(tmp_path, "plan", "", "model.plan")
    for name, steps in {
        "good": ["onnx", "onnx"],
        "nested": ["good"],
        "plans": ["onnx", "plan"],
        "over_plans": ["plans"],
        "dangling": ["nobody"],
    }.items():
        add_model(tmp_path, name, ensemble(*steps))
    selection = select_models(tmp_path)
    assert selection.served == ("good", "nested", "onnx")
    assert selection.left_out["plans"] == "its step 'plan' is not served: the embedded server has no tensorrt backend"
    assert "its step 'plans' is not served: its step 'plan'" in selection.left_out["over_plans"]
    assert "'nobody' is a model that the repository does not hold" in selection.left_out["dangling"]


def test_an_ensemble_that_contains_itself_ends(tmp_path):
    write(tmp_path, "onnx", IO)
    add_model(tmp_path, "circle", ensemble("circle"))
    assert select_models(tmp_path).served == ("circle", "onnx")


@pytest.mark.parametrize(
    ("inside", "said", "leads_to"),
    [
        ("repository/onnx", "is a model, not a model repository", "repository"),
        ("repository/onnx/1", "is a model's version, not a model repository", "repository"),
        (".", "holds no models, but .*repository does", "repository"),
    ],
)
def test_a_repository_one_level_beside_is_shown_the_way(inside, said, leads_to, tmp_path):
    write(tmp_path / "repository", "onnx", IO)
    (tmp_path / "src").mkdir()
    with pytest.raises(ServerError, match=said) as error:
        select_models(tmp_path / inside)
    assert error.value.hint == f"--repository {tmp_path / leads_to}"


def test_hidden_directories_are_no_models(tmp_path):
    write(tmp_path, "onnx", IO)
    (tmp_path / ".git").mkdir()
    assert select_models(tmp_path).left_out == {}


def test_what_triton_refuses_is_left_out_unless_it_was_asked_for_or_is_all_there_is(tmp_path):
    write(tmp_path, "onnx", IO)
    write(tmp_path, "broken", IO)
    selection = select_models(tmp_path).without({"broken": "no protobuf"})
    assert (selection.served, selection.left_out) == (("onnx",), {"broken": "no protobuf"})
    with pytest.raises(ServerError, match="broken: no protobuf"):
        select_models(tmp_path, ["onnx", "broken"]).without({"broken": "no protobuf"})
    with pytest.raises(ServerError, match="broken: no protobuf; onnx: no memory"):
        select_models(tmp_path).without({"broken": "no protobuf", "onnx": "no memory"})


def test_a_configuration_that_answers_wrong_in_the_container_is_named_served_or_not(tmp_path):
    add_model(tmp_path, "onnx", f'platform: "onnxruntime_onnx" {BOTH}' + IO)
    add_model(tmp_path, "plan", f'platform: "tensorrt_plan" {BOTH}')
    selection = select_models(tmp_path)
    assert set(selection.faults) == {"plan"}
    assert "other requests" in selection.faults["plan"][0]


ENDS = (
    'optimization { execution_accelerators { gpu_execution_accelerator { name: "cuda" '
    'parameters { key: "enable_cuda_graph" value: "1" } } } }'
)
HINTS = {
    "right": ('platform: "tensorrt_plan"', None, "make serve", []),
    "wrong": (f'platform: "tensorrt_plan" {BOTH}', None, "Remove output_copy_stream", ["WRONG", "config.pbtxt"]),
    "wrong, by its file": (BOTH, None, "Remove output_copy_stream", ["other requests", "issues/8550"]),
    "wrong in the container's place": (
        'platform: "tensorrt_plan"',
        f'platform: "tensorrt_plan" {BOTH}',
        "Remove output_copy_stream",
        ["(in configs/gpu_container.pbtxt)"],
    ),
    "ends it": (
        f'platform: "onnxruntime_onnx" instance_group {{ kind: KIND_GPU }} {ENDS}' + IO,
        None,
        "Remove enable_cuda_graph",
        ["SIGSEGV"],
    ),
}


@pytest.mark.parametrize("row", HINTS)
def test_a_model_that_the_container_would_serve_wrong_is_not_sent_there(row, tmp_path, monkeypatch):
    monkeypatch.setattr("server.selection.models.has_gpu", lambda: False)
    config, in_container, remedy, named = HINTS[row]
    directory = add_model(tmp_path, "theirs", config).parents[1]
    (directory / "1/model.plan").write_bytes(b"a plan")
    if in_container:
        (directory / "configs").mkdir()
        (directory / "configs/gpu_container.pbtxt").write_text(in_container)
    add_model(tmp_path, "around", ensemble("theirs"))
    for wanted in ("theirs", "around"):
        with pytest.raises(ServerError, match="theirs") as error:
            select_models(tmp_path, [wanted])
        hint = error.value.hint
        assert remedy in hint
        assert all(word in hint for word in named)
        assert "make serve" not in hint or remedy == "make serve"


def test_a_fault_is_found_in_a_configuration_that_is_not_read_here(tmp_path):
    onnx = add_model(tmp_path, "onnx", 'platform: "onnxruntime_onnx"' + IO)
    configs = onnx.parents[1] / "configs"
    configs.mkdir()
    cuda = 'gpu_execution_accelerator { name: "cuda" parameters { key: "enable_cuda_graph" value: "1" } }'
    text = f'platform: "onnxruntime_onnx" optimization {{ execution_accelerators {{ {cuda} }} }}'
    (configs / "gpu_container.pbtxt").write_text(text)
    (configs / "broken.pbtxt").write_text("max_batchsize: 1")
    selection = select_models(tmp_path, config_name="cpu")
    assert selection.served == ("onnx",)
    kills, unreadable = selection.faults["onnx"]
    assert "SIGSEGV" in kills
    assert "configs/gpu_container.pbtxt" in kills
    assert "broken.pbtxt is not a Triton model configuration" in unreadable


def test_the_configuration_that_is_read_decides_what_is_served(tmp_path, monkeypatch):
    monkeypatch.setattr("server.selection.models.has_gpu", lambda: False)
    for name, here in (("both", "KIND_CPU"), ("other", "KIND_GPU")):
        model = add_model(tmp_path, name, 'platform: "onnxruntime_onnx" instance_group { kind: KIND_GPU }' + IO)
        (model.parents[1] / "configs").mkdir()
        text = f'platform: "onnxruntime_onnx" instance_group {{ kind: {here} }}' + IO
        (model.parents[1] / "configs" / "cpu.pbtxt").write_text(text)
    add_model(tmp_path, "lacks", 'platform: "onnxruntime_onnx"' + IO)
    selection = select_models(tmp_path, config_name="cpu")
    assert selection.served == ("both", "lacks")
    assert selection.plain == ("lacks",)
    assert select_models(tmp_path).served == ("lacks",)


@pytest.mark.parametrize("name", ["../cpu", "a/b", "..", "."])
def test_a_name_of_a_configuration_is_not_a_path(name):
    with pytest.raises(ServerError, match="without a path"):
        config_name(name)


@pytest.mark.parametrize(
    ("gpu", "cuda", "expected"), [(True, True, "gpu_embedded"), (True, False, "cpu"), (False, True, "cpu")]
)
def test_the_place_is_chosen_by_what_is_here(monkeypatch, gpu, cuda, expected):
    def version(name: str) -> str:
        if name == "onnxruntime-gpu" and not cuda:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("server.selection.places.has_gpu", lambda: gpu)
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert config_name(None) == expected
    assert config_name("") == ""
    assert config_name("mine") == "mine"
