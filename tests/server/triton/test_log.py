"""Reading Triton's log; the lines are those that tritonserver 2.51.0 wrote."""

from __future__ import annotations

import pytest

from server.triton.log import RECENT, Log, failures, first_line, reason_for

START = """W1124 08:14:12.865059 11525 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"
E1124 08:14:12.865189 11525 server.cc:241] "CudaDriverHelper has not been initialized."
I1124 08:14:12.866133 11525 model_lifecycle.cc:472] "loading: m:1"
"""
STACK = r"\n\nAt:\n  /b/model.py(11): initialize\n"
REFUSED = (
    'E1124 08:14:13.218946 11525 backend_model.cc:692] "ERROR: Failed to create instance: '
    + "TritonModelException: tensor x"
    + STACK
    + '"\nE1124 08:14:13.219067 11525 model_lifecycle.cc:642] '
    + "\"failed to load 'm' version 1: Internal: TritonModelException: tensor x"
    + STACK
    + '"\n'
)


def test_a_start_without_gpu_is_no_failure():
    assert failures(START) == []


def test_a_refused_model_is_one_line_without_the_stack():
    assert failures(START + REFUSED) == ["m version 1: tensor x"]


def test_another_fatal_error_is_kept():
    log = START + "error: creating server: Internal - failed to stat file /no/such\n"
    assert failures(log) == ["creating server: Internal - failed to stat file /no/such"]


AT = "E1126 01:15:48.170532 17 model_repository_manager.cc:1460] "
UNLOADED = "\n".join(
    f'{AT}"{text}"'
    for text in (
        "Poll failed for model directory 'wide': unexpected",
        "Invalid argument: circular dependency: circle -> ... -> circle",
        "Invalid argument: ensemble 'over' depends on 'm' which has none",
        "Invalid argument: load failed for model 'wide': another",
    )
)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("wide", "unexpected"),
        ("circle", "circular dependency: circle -> ... -> circle"),
        ("over", "ensemble 'over' depends on 'm' which has none"),
        ("other", ""),
    ],
)
def test_a_model_without_a_state_has_its_reason_in_the_log(model, reason):
    assert reason_for(model, START + UNLOADED) == reason


def test_what_was_logged_long_ago_is_no_reason(tmp_path, monkeypatch):
    """An error of a load minutes before is not why Triton was killed; one at the end may be."""
    now = 100.0
    monkeypatch.setattr("server.triton.log.time.monotonic", lambda: now)
    path = tmp_path / "triton.log"
    path.write_text(START + REFUSED)
    log = Log(path)
    for _ in range(5):
        log.mark()
        now += RECENT
    assert log.why("it was killed") == "it was killed"
    assert log.why("it was killed", all_of_it=True) == "it was killed: m version 1: tensor x"
    path.write_text(path.read_text() + REFUSED.replace("tensor x", "tensor y"))
    log.mark()
    assert log.why("it was killed") == "it was killed: m version 1: tensor y"


WARM_UP = "failed to run warmup sample 'batch_128': "


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (["too large"] * 128, "too large (128 times)"),
        (["no: 1; 2"] * 3, "no: 1; 2 (3 times)"),
        (["too large"], "too large"),
        (["too large", "too small"], "too large; too small"),
        (["too large"] * 5 + ["too small"] * 2 + ["late"], "too large (5 times); too small (2 times); late"),
        ([rf"no{STACK}"] * 4, "no"),
    ],
)
@pytest.mark.parametrize("begin", ["", "Invalid argument: "])
def test_a_warm_up_s_failure_is_said_once_with_its_count(begin, errors, said):
    """Triton puts down an error for each request of the sample, and a sample of a batch has one for each image."""
    text = f"{begin}{WARM_UP}{''.join(f'{error}; ' for error in errors)}"
    assert first_line(text) == WARM_UP + said
    assert failures(f"E1124 08:14:13.2 1 a.cc:6] \"failed to load 'm' version 1: {text}\"\n") == [
        f"m version 1: {WARM_UP}{said}"
    ]
