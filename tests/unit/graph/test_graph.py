"""The graph: what is in it, with the pocket array behind it, and that Graphviz itself draws it."""

import os
import subprocess
from xml.etree import ElementTree

import pytest

from kvmontap.cli import graph, main
from kvmontap.config import parse
from kvmontap.graph import drawing, order, storage
from kvmontap.graph.drawing import Edge, Node
from kvmontap.units import bundle
from tests.pocket_array import PocketArray
from tests.unit.array.over_https import authority, judge, secret  # noqa: F401

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DESIGN = os.path.join(ROOT, "tests/golden/design/kvmontap.conf")
LIFS = ({"name": "lif_a", "state": "up", "ip": {"address": "172.21.35.11"}, "location": {"node": {"name": "n1"}}, "svm": {"name": "s"}},
        {"name": "lif_b", "state": "down", "ip": {"address": "172.21.36.11"}, "location": {"node": {"name": "n2"}}, "svm": {"name": "s"}},
        {"name": "fc_a", "state": "up", "wwpn": "20:00:00:50:56:b4:13:a8", "location": {"node": {"name": "n1"}}, "svm": {"name": "s"}})


def design():
    with open(DESIGN, "rb") as stream:
        return parse(stream.read()).config


def ways(part, start):
    """Every way from a node to where no edge leads on."""
    on = [edge.head for edge in part.edges if edge.tail == start]
    return [(start, *way) for head in on for way in ways(part, head)] if on else [(start,)]


def test_from_a_vm_to_its_volume():
    behind = {"kvmnfs01": storage.Behind("vol1", "s", LIFS), "kvmfc01": storage.Behind("vol2", "s", LIFS)}
    part = storage.part(design(), {"web1": ("kvmnfs01", "kvmfc01"), "other": ()}, behind)
    assert {node.id for node in part.nodes if node.kind == "vm"} == {"vm web1"}
    found = ways(part, "vm web1")
    assert ("vm web1", "pool kvmnfs01", "mount /mnt/kvmnfs01", "source kvmnfs01", "lif lif_a", "node n1", "volume prod/s/vol1") in found
    assert any(way[-4:] == ("source kvmfc01", "lif fc_a", "node n1", "volume /s/vol2") for way in found)
    assert {node.id: node.kind for node in part.nodes}["lif lif_b"] == "down"


def test_without_an_array_the_addresses_are_shown():
    part = storage.part(design(), {}, {})
    assert [way[-1] for way in ways(part, "pool kvmns01")] == [f"path 172.21.{end}" for end in ("37.16", "37.17", "38.19", "38.20")]
    assert ways(part, "pool kvmnfs01")[0][-1] == "volume prod/kvmnfs01"


def test_the_order_is_that_of_the_units():
    part = order.part(bundle(design()))
    assert ("network-online.target", "kvmontap-iscsi@kvmiscsi01.service", "mnt-kvmiscsi01.mount", "libvirtd.service", "VMs") in ways(
        part, "network-online.target")
    assert ("network-online.target", "mnt-kvmnfs01.mount", "libvirt-guests.service", "VMs") in ways(part, "network-online.target")
    dashed = {(edge.tail, edge.head): edge.dashed for edge in part.edges}
    assert dashed["kvmontap-o2cb@kvmcl01.service", "mnt-kvmfc01.mount"] is False and dashed["mnt-kvmfc01.mount", "libvirtd.service"] is True


def test_an_array_in_a_vm_of_this_host_comes_after_libvirt():
    text = "[pools]\n[[h]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /h\nhosted-on = select\n"
    part = order.part(bundle(parse(text).config))
    heads = {edge.head for edge in part.edges if edge.tail == "mnt-h.mount"}
    assert heads == {"kvmontap-hosted-guests@select.service"}


@pytest.mark.parametrize("text", ['a"b', "back\\slash", "new\nline", "ctrl\x01", "ünï"])
def test_any_name_can_be_drawn(text):
    part = drawing.unique("t", [Node(text, "vm", text), Node("b", "pool", "b")], [Edge(text, "b", text), Edge(text, "gone")])
    done = subprocess.run(["dot", "-Tplain"], input=drawing.dot([part]).encode(), capture_output=True, check=False, timeout=60)
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.count(b"\nedge ") == 1


def test_as_a_command(tmp_path, capsys, monkeypatch):
    assert main(["graph", "--offline", "--config", DESIGN, "kvmnfs01"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("digraph kvmontap {") and "kvmsmb01" not in out
    assert main(["graph", "--offline", "--config", DESIGN, "--svg", str(tmp_path / "g.svg")]) == 0
    texts = [one.text for one in ElementTree.parse(tmp_path / "g.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert "kvmfc01" in texts and "mnt-kvmfc01.mount" in texts
    assert main(["graph", "--offline", "--config", DESIGN, "--svg", "/nowhere/g.svg"]) == 1
    assert capsys.readouterr().err == "kvmontap: /nowhere/g.svg cannot be written: No such file or directory\n"
    assert main(["graph", "--offline", "--config", DESIGN, "web"]) == 2
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["graph", "--offline", "--config", DESIGN, "--svg", "-"]) == 1
    assert "needs Graphviz, which is not installed" in capsys.readouterr().err


def test_what_the_array_tells(authority, judge, tmp_path):  # noqa: F811
    with PocketArray({
        "svms": [{"name": "svm_kvm"}, {"name": "other"}],
        "volumes": [{"name": "vol1", "svm": "svm_kvm", "path": "/kvmnfs01"}],
        "lifs": [{"name": "lif_a", "svm": "svm_kvm", "address": "172.21.35.11", "node": "node2"},
                 {"name": "lif_x", "svm": "other", "address": "172.21.36.11"}],
        "users": [{"name": "kvmontap", "password": "p", "role": "admin"}],
    }, directory=authority, observers=(judge,) if judge else ()) as pocket:
        array = design().arrays["prod"]._replace(address=pocket.host, svm="svm_kvm", username="kvmontap", ca=pocket.ca,
                                                 password_file=secret(tmp_path / "password", "p"))
        missing = []
        behind = graph._behind(design()._replace(arrays={"prod": array}), missing)
    assert missing == [] and behind["kvmnfs01"].volume == "vol1"
    assert [one["name"] for one in behind["kvmnfs01"].lifs] == ["lif_a"]
