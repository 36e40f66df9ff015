"""Reading Triton's log; the lines are those that tritonserver 2.51.0 wrote."""

from __future__ import annotations

from server.log import failures

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
