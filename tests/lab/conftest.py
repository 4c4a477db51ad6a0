"""One site for all lab tests of a run; every test finds it as the first boot left it."""

from __future__ import annotations

import threading
import time
from typing import Iterator

import pytest

from . import site as sites
from .site import Site

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Note on the item whether it failed: the site is then brought back from its saved state."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The site right after host1's first boot from the installed package; saved in that state."""
    plugins = request.config.pluginmanager
    terminal, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    started, one_at_a_time = time.monotonic(), threading.Lock()

    def progress(text: str) -> None:
        with one_at_a_time, capture.global_and_fixture_disabled():
            terminal.write_line(f"[{time.monotonic() - started:5.0f} s] {text}")
            terminal.flush()

    site = sites.build(progress)
    try:
        progress("site: ready")
        yield site
    finally:
        site.lab.close()


@pytest.fixture(scope="session")
def saved(booted: Site) -> Site:
    """The booted site, of which a saved state exists."""
    booted.lab.save()
    return booted


@pytest.fixture
def site(saved: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The site for a test that changes things; whatever it does is undone afterwards."""
    yield saved
    if request.node.stash.get(_FAILED, False):
        saved.lab.resume()  # the test stopped half-way: nobody knows what it left
        return
    sites.put_back(saved)
