from __future__ import annotations

import socket

import pytest

from server.errors import ServerError
from server.triton.ports import reserve


def test_zero_takes_free_ports_that_differ():
    ports = reserve("127.0.0.1", 0, 0, 0)
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports.grpc))


def test_the_same_port_twice_is_busy():
    free = reserve("127.0.0.1", 0, 0, 0).http
    with pytest.raises(ServerError, match=f"127.0.0.1:{free} .--grpc-port.: Address already in use"):
        reserve("127.0.0.1", free, free, 0)


def test_an_impossible_address():
    with pytest.raises(ServerError, match=r"192\.0\.2\.1"):
        reserve("192.0.2.1", 0, 0, 0)
