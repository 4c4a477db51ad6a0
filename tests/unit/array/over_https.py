"""An array over real HTTPS, the real netapp_ontap, and the judge of everything that goes between them."""

import os
import time

import pytest

from kvmontap import model
from kvmontap.array import Client
from tests.pocket_array import PocketArray
from tests.pocket_array.judge import Judge

DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}, {"name": "svm_other"}],
    "volumes": [
        {"name": "kvmnfs01", "svm": "svm_kvm"},
        {"name": "kvmnfs02", "svm": "svm_kvm", "path": "/deep/er/kvmnfs02"},
        {"name": "twice", "svm": "svm_kvm", "path": "/twice"},
        {"name": "twice", "svm": "svm_other", "path": "/twice"},
        {"name": "vault", "svm": "svm_kvm", "snapshot_locking_enabled": True},
        {"name": "root", "svm": "svm_kvm", "path": "/"},
    ],
    "lifs": [
        {"name": "lif_a", "svm": "svm_kvm", "address": "192.0.2.11"},
        {"name": "lif_b", "svm": "svm_kvm", "address": "192.0.2.12"},
    ],
    "shares": [{"name": "kvmsmb01", "svm": "svm_kvm", "path": "/kvmnfs01/share"}],
    "users": [
        {"name": "kvmontap", "password": "pässword-1", "certificate": True},
        {"name": "bearer", "token": "eyJh.eyJz.c2ln"},
        {"name": "limited", "password": "limited-1", "role": "limited"},
        {"name": "blind", "password": "blind-1", "role": "none"},
    ],
    "roles": {
        "limited": [
            {"path": "/api/storage/volumes", "access": "readonly"},
            {"path": "/api/storage/volumes/*/snapshots", "access": "readonly"},
        ]
    },
}


def secret(path, text):
    """A file that only we can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    return str(path)


def soon(seconds=10.0):
    return time.monotonic() + seconds


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """One directory with a certificate authority for all arrays: openssl is slow."""
    return str(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def judge():
    """Fails the test when a request or an answer does not fit ONTAP's description, where that is at hand."""
    made = Judge.at_hand()
    yield made
    if made is not None:
        assert not made.violations, "\n".join(str(one) for one in made.violations)


@pytest.fixture
def pocket(authority, judge):
    with PocketArray(DESCRIPTION, directory=authority, observers=(judge,) if judge else ()) as array:
        yield array


@pytest.fixture
def section(pocket, tmp_path):
    """The [ontap] subsection for the pocket array with a password login."""
    return model.Array(
        "prod",
        pocket.host,
        svm="svm_kvm",
        username="kvmontap",
        password_file=secret(tmp_path / "password", "pässword-1"),
        ca=pocket.ca,
        timeout=10.0,
    )


@pytest.fixture
def client(section):
    made = Client(section)
    yield made
    made.close()


@pytest.fixture
def pool():
    return model.Pool(
        "kvmnfs01", "nfs", target="/mnt/kvmnfs01", server=("192.0.2.11", "192.0.2.12"), export="/kvmnfs01", ontap="prod"
    )


def requests(pocket):
    """(method, path) of everything that the array was asked, in order."""
    return [(entry.method, entry.path) for entry in pocket.log._entries]
