"""What stands behind volumes: FC interfaces, MetroCluster, mediators, and changes from outside; every exchange is judged."""

import pytest

from tests.pocket_array.caller import DESCRIPTION, Caller
from tests.pocket_array.judged import judged_array
from tests.pocket_array.shown import DescriptionError

MORE = {
    **DESCRIPTION,
    "fc_lifs": [
        {"name": "fc1", "svm": "svm_kvm", "wwpn": "20:00:00:50:56:b4:13:a8", "state": "up", "enabled": True,
         "data_protocol": "fcp", "location": {"home_node": {"name": "node2"}, "node": {"name": "node2"}, "is_home": True}},
    ],
    "mediators": [{"ip_address": "192.0.2.9", "reachable": True}],
    "aggregates": [{"name": "aggr1"}],
    "relationships": [{"uuid": "b597650e-1112-11ee-a4a2-0050569c9f4e", "healthy": True, "state": "snapmirrored"}],
}


@pytest.fixture
def array(authority):
    with judged_array(MORE, directory=authority) as started:
        yield started


@pytest.fixture
def call(array):
    return Caller(array)


def records(call, path, **query):
    status, body, _ = call("GET", path, **query)
    assert status == 200
    return body["records"]


def test_fc_interfaces_by_svm(call):
    found, = records(call, "/api/network/fc/interfaces", svm__name="svm_kvm", fields="state,wwpn,location.node.name")
    assert (found["name"], found["state"], found["location"]["node"]["name"]) == ("fc1", "up", "node2")
    assert records(call, "/api/network/fc/interfaces", svm__name="svm_other") == []


def test_a_cluster_that_is_no_metrocluster_says_so(call, array):
    assert call("GET", "/api/cluster/metrocluster")[1]["local"]["configuration_state"] == "not_configured"
    array.change(metrocluster={"local": {"configuration_state": "configured", "mode": "switchover"}})
    assert call("GET", "/api/cluster/metrocluster", fields="local")[1]["local"]["mode"] == "switchover"


def test_what_is_shown_can_be_changed(call, array):
    array.change(
        mediators={"192.0.2.9": {"reachable": False}},
        aggregates={"aggr1": {"state": "offline"}},
        relationships={"b597650e-1112-11ee-a4a2-0050569c9f4e": {"healthy": False}},
        fc_lifs={"fc1": {"state": "down"}},
    )
    assert records(call, "/api/cluster/mediators", fields="reachable")[0]["reachable"] is False
    assert records(call, "/api/storage/aggregates", fields="state")[0]["state"] == "offline"
    assert records(call, "/api/snapmirror/relationships", fields="healthy")[0]["healthy"] is False
    assert records(call, "/api/network/fc/interfaces", fields="state")[0]["state"] == "down"
    with pytest.raises(DescriptionError, match="there is no 192.0.2.10 in mediators"):
        array.change(mediators={"192.0.2.10": {}})
