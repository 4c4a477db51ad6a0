"""Hosts to boot: `bare` (Debian with libvirt), `host` (the package installed beside it), each fresh for its test and off at first."""

from typing import Callable, Iterator

import pytest

from tests.boot import tree
from tests.boot.machine import Machine


@pytest.fixture(scope="session", params=tree.SUITES)
def suite(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def package() -> Callable:
    """package(version) -> the .deb of this checkout."""
    return tree.package


@pytest.fixture(scope="session")
def installed(suite, package, tmp_path_factory):
    """What the installation adds to the tree, as a layer: once per suite, in a chroot as an image builder does it."""
    work, layer = tmp_path_factory.mktemp("install"), tmp_path_factory.mktemp("layer")
    machine = Machine([tree.tree(suite)], work)
    try:
        machine.stand_ins()
        machine.install(package("1.0"))
        machine.keep(layer)
    finally:
        machine.close()
    return layer


@pytest.fixture()
def bare(suite, tmp_path) -> Iterator[Machine]:
    machine = Machine([tree.tree(suite)], tmp_path)
    try:
        machine.stand_ins()
        yield machine
    finally:
        machine.close()


@pytest.fixture()
def host(suite, installed, tmp_path) -> Iterator[Machine]:
    machine = Machine([tree.tree(suite), installed], tmp_path)
    try:
        yield machine
    finally:
        machine.close()
