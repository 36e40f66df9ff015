"""Which configurations are served and which refused: the container's C++ backend's outcome, in the embedded Triton."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from tests.server.backends.onnxruntime.configurations import NOT_BUILT_IN, SAME, Row
from tests.support.models import PLATFORM, add_doubler, add_model
from tests.support.triton import start_server

pytestmark = pytest.mark.triton

ROWS = {row.name: row for row in (*SAME, *NOT_BUILT_IN)}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, str]:
    """What one server says to each configuration: model name -> the reason of its refusal, empty if it is served."""
    repository = tmp_path_factory.mktemp("configurations")
    add_doubler(repository, "present")
    for row in ROWS.values():
        row.graph(add_model(repository, row.name, PLATFORM + row.config))
    with (
        start_server(repository, "--load=present") as server,
        grpcclient.InferenceServerClient(server.grpc) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        return dict(zip(ROWS, pool.map(lambda name: load(client, name), ROWS), strict=True))


def load(client, name: str) -> str:
    try:
        client.load_model(name)
    except InferenceServerException as error:
        return error.message()
    assert client.is_model_ready(name)
    client.unload_model(name)
    return ""


def test_the_table_is_large_enough():
    assert len(SAME) >= 35
    assert len(ROWS) == len(SAME) + len(NOT_BUILT_IN), "a name stands twice"


@pytest.mark.parametrize("row", SAME, ids=lambda row: row.name)
def test_a_configuration_is_served_or_refused_as_the_container_does(row: Row, outcomes):
    check(row, outcomes[row.name])


@pytest.mark.parametrize("row", NOT_BUILT_IN, ids=lambda row: row.name)
def test_what_only_the_container_has_is_refused(row: Row, outcomes):
    check(row, outcomes[row.name])


def check(row: Row, found: str) -> None:
    if row.refused:
        assert found, f"it is served, and should be refused ({row.why})"
        assert re.search(row.refused, found), f"refused, but with these words: {found}"
    else:
        assert not found, f"it should be served ({row.why})"
