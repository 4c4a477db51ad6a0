"""Fixtures for the pocket array's own tests: a judged array, a caller, no leaks."""

from __future__ import annotations

import gc
import os
import sys
import threading

import pytest

_ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.pocket_array.caller import DESCRIPTION, Caller  # noqa: E402
from tests.pocket_array.judged import judged_array  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_leaks():
    """No thread, no descriptor, no temporary directory of ours is left by any test."""
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    yield
    gc.collect()  # the client's sockets hang in the tracebacks of its errors
    left = [
        each.name
        for each in threading.enumerate()
        if each not in threads and each.name.startswith("pocket")
    ]
    assert not left
    opened = {}
    for each in set(os.listdir("/proc/self/fd")) - descriptors:
        try:
            opened[each] = os.readlink(f"/proc/self/fd/{each}")
        except FileNotFoundError:
            pass  # that was listdir's own
    assert not [name for name in opened.values() if name.startswith("socket:")]


@pytest.fixture(autouse=True)
def only_our_authority(monkeypatch):
    """requests takes these over a connection's own verify=."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """One directory of certificates for most arrays: openssl takes its time."""
    return str(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def array(authority):
    with judged_array(DESCRIPTION, directory=authority) as started:
        yield started


@pytest.fixture
def call(array):
    return Caller(array)


@pytest.fixture
def volume(array):
    """The uuid of kvmnfs01 of svm_kvm."""
    return array.state.volume("kvmnfs01", "svm_kvm").uuid


@pytest.fixture
def finished(call):
    """Waits for the job of a 202; gives the job."""

    def wait(body):
        for _ in range(2000):
            job = call("GET", body["job"]["_links"]["self"]["href"])[1]
            if job["state"] in ("success", "failure"):
                return job
        raise AssertionError(f"job never ended: {job}")

    return wait
