from __future__ import annotations

import socket

import pytest

from server.errors import ServerError
from server.triton.ports import reserve
from tests.support.triton import has_ipv6


def test_zero_takes_free_ports_that_differ():
    ports = reserve("127.0.0.1", 0, 0, 0)
    assert len({ports.http, ports.grpc, ports.metrics}) == 3
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports.grpc))


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no address of IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_stands_in_brackets_before_a_port(host):
    ports = reserve(host, 0, 0, 0)
    assert ports.host == "::1"
    assert ports.grpc_address == f"[::1]:{ports.grpc}"
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", ports.grpc))
        listener.listen()
        with pytest.raises(ServerError, match=rf"\[::1\]:{ports.grpc} .--http-port.: Address already in use"):
            reserve(host, ports.grpc, 0, 0)


def test_the_same_port_twice_is_busy():
    free = reserve("127.0.0.1", 0, 0, 0).http
    with pytest.raises(ServerError, match=f"127.0.0.1:{free} .--grpc-port.: Address already in use"):
        reserve("127.0.0.1", free, free, 0)


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("192.0.2.1", 0, "192.0.2.1:0 .--http-port.: "),
        ("2001:db8::1", 0, r"\[2001:db8::1\]:0 .--http-port.: "),
        ("[2001:db8::1]", 0, r"\[2001:db8::1\]:0 .--http-port.: "),
        (":::", 0, r"\[:::\]:0 .--http-port.: "),
        ("nowhere.invalid", 0, "nowhere.invalid:0 .--http-port.: "),
    ],
)
def test_impossible_addresses(host, port, said):
    with pytest.raises(ServerError, match=said):
        reserve(host, port, 0, 0)
