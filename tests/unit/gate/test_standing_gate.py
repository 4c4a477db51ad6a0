"""What is remembered of the arrays' slow answers, and who is asked when."""

import os
import threading
import time

import pytest

from kvmontap import model
from kvmontap.array import Clients
from kvmontap.array.state import VolumeLook, VolumeRef
from kvmontap.gate.configured import Configured
from kvmontap.gate.standing import EVERY, Standings, initiators
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import requests, secret

DESCRIPTION = {
    "svms": [{"name": "svm_kvm"}],
    "volumes": [{"name": "kvmnfs01", "svm": "svm_kvm"}],
    "aggregates": [{"name": "aggr1", "space": {"block_storage": {"used_percent": 97}}}],
    "users": [{"name": "kvmontap", "password": "pw-standing"}],
}
POOL = model.Pool("kvmnfs01", "nfs", "/mnt/kvmnfs01", server=("192.0.2.11",), export="/kvmnfs01", ontap="prod")


@pytest.fixture
def pocket(authority, judge):
    with PocketArray(DESCRIPTION, directory=authority, observers=(judge,) if judge else ()) as array:
        yield array


@pytest.fixture
def config(pocket, tmp_path):
    array = model.Array("prod", pocket.host, svm="svm_kvm", username="kvmontap", ca=pocket.ca, timeout=10.0,
                        password_file=secret(tmp_path / "password", "pw-standing"))
    return model.Config({"prod": array}, {"kvmnfs01": POOL}, {})


@pytest.fixture
def look(pocket):
    svm = pocket.volume("kvmnfs01").svm
    return VolumeLook(VolumeRef("u", "kvmnfs01", svm.name, svm.uuid), aggregates=("aggr1",))


def codes(standings, look):
    return [one.code for one in standings.findings(POOL, look)]


def wait(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_answers_are_remembered_and_asked_for_again_after_a_while(pocket, config, look):
    now = [100.0]
    standings = Standings(Clients().get, clock=lambda: now[0])
    assert codes(standings, look) == []
    standings.use(Configured(config))
    wait(lambda: codes(standings, look) == ["aggregate.low"])
    wait(lambda: not any(one.name == "kvmontap-standing" for one in threading.enumerate()))
    asked = len(requests(pocket))
    pocket.change(aggregates={"aggr1": {"space": {"block_storage": {"used_percent": 50}}}})
    now[0] += EVERY - 1
    standings.use(Configured(config))
    assert len(requests(pocket)) == asked and codes(standings, look) == ["aggregate.low"]
    now[0] += 2
    standings.use(Configured(config))
    wait(lambda: codes(standings, look) == [])


def test_one_array_that_hangs_holds_up_no_other(pocket, config, look):
    hanging = config.arrays["prod"]._replace(name="dr", address="127.0.0.1:1", timeout=1.0)
    standings = Standings(Clients().get)
    standings.refresh(config._replace(arrays={**config.arrays, "dr": hanging}))
    assert codes(standings, look) == ["aggregate.low"]
    assert len(standings.skipped("dr")) == 1 and "dr (127.0.0.1:1) does not answer" in standings.skipped("dr")[0]
    assert standings.skipped("prod") == () == standings.skipped("")


def test_what_an_array_said_stands_until_it_answers_again(pocket, config, look):
    """Or whatever is wrong would seem to come and go with the management LIF."""
    standings = Standings(Clients().get)
    standings.refresh(config)
    pocket.refuse()
    pocket.change(aggregates={"aggr1": {"space": {"block_storage": {"used_percent": 50}}}})
    standings.refresh(config)
    assert codes(standings, look) == ["aggregate.low"] and len(standings.skipped("prod")) == 1
    pocket.listen()
    standings.refresh(config)
    assert codes(standings, look) == [] and standings.skipped("prod") == ()
    standings.refresh(config._replace(arrays={}))  # it is no longer in the file
    assert codes(standings, look) == []


def test_this_hosts_names_by_protocol(tmp_path):
    for path, text in (("etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.a:b"), ("etc/nvme/hostnqn", "nqn.x"),
                       ("sys/class/fc_host/host5/port_name", "0x2100f4c7aa010203")):
        os.makedirs(os.path.dirname(tmp_path / path))
        (tmp_path / path).write_text(text + "\n")
    assert initiators("iscsi", str(tmp_path)) == ("iqn.a:b",) and initiators("nvme-tcp", str(tmp_path)) == ("nqn.x",)
    assert initiators("fc", str(tmp_path)) == ("21:00:f4:c7:aa:01:02:03",) and initiators("nfs", str(tmp_path)) == ()
