"""Names, comments and locks: pure."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap.model import Domain
from kvmontap.snapshots import naming

UUID = "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab"


def test_a_name():
    assert naming.name(1795421106.9, "start", 0x1F00D) == "kvmontap-20261123T080506Z-start-f00d"


@given(st.floats(0, 4e9), st.sampled_from(["start", "migrate", "restore"]), st.integers())
def test_every_name_is_one_that_ontap_takes(now, reason, chance):
    assert re.fullmatch(r"kvmontap-\d{8}T\d{6}Z-(start|migrate|restore)-[0-9a-f]{4}", naming.name(now, reason, chance))


@given(st.text(max_size=300), st.text(max_size=300), st.integers(0, 5000))
def test_a_comment_fits_and_keeps_the_uuid(name, host, more):
    comment = naming.comment(Domain(name, UUID, ()), "migrate", host, more)
    told = json.loads(comment)
    assert len(comment) <= 255 and comment.isascii() and "\n" not in comment
    assert told["uuid"] == UUID and told["kvmontap"] == 1 and told["reason"] == "migrate" and told.get("more", 0) == more
    for full, kept in ((name, told["vm"]), (host, told["host"])):
        assert kept == full or (kept.endswith("~") and full.startswith(kept[:-1]))


@pytest.mark.parametrize("name", ["v" * 200, "größe" * 40, "名" * 200, "\U0001f600" * 50, '"\\' * 100])
def test_a_long_name_is_cut_but_not_to_nothing(name):
    comment = naming.comment(Domain(name, UUID, ()), "start", "host1", 0)
    assert len(comment) <= 255
    assert len(json.dumps(json.loads(comment)["vm"])) > 100


def test_a_short_comment_is_whole():
    assert json.loads(naming.comment(Domain("vm1", UUID, ()), "start", "kvm01.example.com")) == {
        "kvmontap": 1, "uuid": UUID, "reason": "start", "host": "kvm01.example.com", "vm": "vm1"
    }


def test_a_lock():
    assert naming.expiry(1795421106.9, 14) == "2026-12-07T08:05:06+00:00"
    assert naming.expiry(0, 0) == ""
