"""Hosts with libvirtd, kvmontap and an array."""

import os

import pytest

from tests.libvirt.kvmhost import CONF, KvmHost
from tests.pocket_array import PocketArray

DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}],
    "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm"}],
    "users": [{"name": "kvmontap", "password": "secret-1"}],
}
POOL = """[ontap]
[[prod]]
address = {address}
svm = svm_kvm
username = kvmontap
password-file = /etc/kvmontap/prod.password
ca = /shared/ca/ca.pem
[pools]
[[kvmnfs01]]
protocol = nfs
server = 192.0.2.11
export = /kvmnfs01
ontap = prod
[gate]
mode = {mode}
[snapshots]
{snapshots}
"""


@pytest.fixture
def shared(tmp_path):
    """A directory that all hosts of a test see as /shared."""
    (tmp_path / "shared/ca").mkdir(parents=True)
    return tmp_path / "shared"


@pytest.fixture
def array(shared):
    with PocketArray(DESCRIPTION, directory=str(shared / "ca")) as made:
        yield made


@pytest.fixture
def configure(array):
    """configure(host, mode=..., snapshots=...): writes the configuration of a host."""

    def write(host, mode="enforce", snapshots=""):
        host.put("/etc/kvmontap/prod.password", "secret-1\n", 0o600)
        host.put(CONF, POOL.format(address=array.host, mode=mode, snapshots=snapshots))

    return write


@pytest.fixture
def host(tmp_path, shared, configure):
    """A host whose libvirtd runs, configured to enforce; its pool is not mounted, for there is no NFS in here."""
    with KvmHost(tmp_path / "kvm01", shared) as made:
        configure(made)
        made.start_libvirt()
        yield made


def snapshots(array):
    """Names of the snapshots that the array holds."""
    return sorted(array.volume("kvmnfs01").snapshots)


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="namespaces need root"))
