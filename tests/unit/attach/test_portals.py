"""Which portals answer: real sockets on loopback."""

import contextlib
import os
import socket
import time

import pytest

from kvmontap.attach import portals
from kvmontap.attach.call import AttachError


@contextlib.contextmanager
def listening(address="127.0.0.1", family=socket.AF_INET):
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen(8)
        yield server.getsockname()[1]


def closed():
    """A port that refuses."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def soon(seconds=20.0):
    return time.monotonic() + seconds


def test_all_answer_at_once():
    with listening() as one, listening("127.0.0.2") as other:
        began = time.monotonic()
        there, silent = portals.answering([f"127.0.0.1:{one}", f"127.0.0.2:{other}"], (3260,), soon())
        assert time.monotonic() - began < portals.GRACE
    assert [(portal.address, portal.port) for portal in there] == [("127.0.0.1", one), ("127.0.0.2", other)]
    assert silent == {}


def test_one_that_refuses_costs_the_grace_and_no_more():
    with listening() as one:
        began = time.monotonic()
        dead = f"127.0.0.1:{closed()}"
        there, silent = portals.answering([dead, f"127.0.0.1:{one}"], (3260,), soon())
        assert time.monotonic() - began < portals.GRACE + 2
    assert [portal.port for portal in there] == [one]
    assert silent == {dead: "connection refused"}


def test_none_answers_is_one_sentence():
    dead = f"127.0.0.1:{closed()}"
    with pytest.raises(AttachError) as caught:
        portals.answering([dead], (3260,), soon(1.0))
    assert dead in str(caught.value) and "connection refused" in str(caught.value)


def test_ipv6_and_its_brackets():
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    try:
        with listening("::1", socket.AF_INET6) as one:
            there, _ = portals.answering([f"[::1]:{one}"], (3260,), soon())
    except OSError as error:
        pytest.skip(f"no IPv6 loopback on this machine: {error}")
    assert there[0].endpoint == f"[::1]:{one}"


def test_a_later_port_is_taken_once_the_first_refuses():
    with listening() as one:
        there, _ = portals.answering(["127.0.0.1"], (closed(), one), soon())
        assert [portal.port for portal in there] == [one]
        both, _ = portals.answering(["127.0.0.1"], (one, closed()), soon())
        assert [portal.port for portal in both] == [one]


def test_through_which_interface_a_portal_answers():
    with listening() as port:
        portal = portals.Portal("a", "127.0.0.1", port)
        other = next((name for name in sorted(os.listdir("/sys/class/net")) if name != "lo"), "none0")
        silent = portals.unreachable({"lo": (portal, "lo"), "other": (portal, other)}, soon(10))
    assert list(silent) == ["other"] and silent["other"]


def test_where_no_interface_reaches_a_portal_all_are_told_in_bounded_time():
    began = time.monotonic()
    silent = portals.unreachable({name: (portals.Portal(name, "192.0.2.1", 3260), "lo") for name in ("a", "b")}, soon(1))
    assert set(silent) == {"a", "b"} and time.monotonic() - began < 30
