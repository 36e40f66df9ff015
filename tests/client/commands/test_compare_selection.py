"""Which models a comparison leaves out."""

from __future__ import annotations

import pytest

from client.commands.compare import on_cpu_beside_gpu
from client.connection import Model


def models(**kinds: dict[str, int]) -> list[Model]:
    return [Model(name, "1", "", 64, {"instances": found}) for name, found in kinds.items()]


@pytest.mark.parametrize(
    ("found", "left_out"),
    [
        (models(fp32={"CPU": 1}, int8={"CPU": 1}), []),
        (models(fp32={"GPU": 1}, int8={"CPU": 1}), ["int8"]),
        (models(fp32={"GPU": 2}, both={"GPU": 1, "CPU": 1}), []),
        (models(fp32={"AUTO": 1}, int8={"CPU": 1}), []),
        (models(fp32={"GPU": 1}, unsaid={}), []),
        ([Model("older", "1", "", 64)], []),
    ],
)
def test_what_runs_on_the_cpu_alone_is_left_out_beside_a_gpu(found, left_out):
    assert on_cpu_beside_gpu(found) == left_out
