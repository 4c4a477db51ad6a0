"""/etc/ocfs2/cluster.conf: one cluster is merged in, nothing else is touched."""

from hypothesis import given
from hypothesis import strategies as st

from kvmontap.attach import clusterconf
from kvmontap.model import Cluster, Node

OURS = Cluster("kvmcl01", "o2cb", 61, (Node("kvm01", "172.21.35.21", 7777, 0), Node("kvm02", "172.21.35.22", 7778, 7)))
FRESH = """\
cluster:
\tnode_count = 2
\theartbeat_mode = local
\tname = kvmcl01

node:
\tip_port = 7777
\tip_address = 172.21.35.21
\tnumber = 0
\tname = kvm01
\tcluster = kvmcl01

node:
\tip_port = 7778
\tip_address = 172.21.35.22
\tnumber = 7
\tname = kvm02
\tcluster = kvmcl01

"""
# As an administrator has it: a comment, another cluster with global heartbeat, other indentation.
OTHERS = """\
# kept by hand
cluster:
        node_count = 1
        heartbeat_mode = global
        name = other

heartbeat:
        cluster = other
        region = 77D95EF51C0149D2823674FCC162CF8B

node:
        ip_port = 7777
        ip_address = 10.0.0.1
        number = 1
        name = kvm01
        cluster = other
"""


def test_a_cluster_in_a_file_that_was_not_there():
    assert clusterconf.merged("", OURS) == FRESH


def test_what_says_the_same_is_not_touched():
    spaced = FRESH.replace("\t", "        ").replace("cluster:\n", "cluster:\n# ours\n", 1)
    assert clusterconf.merged(spaced, OURS) == spaced


def test_other_clusters_stay_byte_for_byte():
    text = clusterconf.merged(OTHERS, OURS)
    assert text.startswith(OTHERS.rstrip("\n"))
    assert text.endswith(FRESH)
    assert clusterconf.merged(text, OURS) == text


def test_an_older_description_of_ours_is_replaced_in_whole():
    old = OTHERS + "\n" + FRESH.replace("172.21.35.22", "172.21.35.99").replace("node_count = 2", "node_count = 3") + (
        "node:\n\tname = kvm03\n\tcluster = kvmcl01\n\tnumber = 3\n\tip_address = 172.21.35.23\n\tip_port = 7777\n")
    text = clusterconf.merged(old, OURS)
    assert "172.21.35.99" not in text and "kvm03" not in text
    assert text.endswith(FRESH) and "77D95EF51C0149D2823674FCC162CF8B" in text


def test_global_heartbeat_of_ours_stays():
    regions = FRESH.replace("heartbeat_mode = local", "heartbeat_mode = global") + "heartbeat:\n\tregion = AB\n\tcluster = kvmcl01\n"
    text = clusterconf.merged(regions.replace("7778", "7779"), OURS)
    assert clusterconf.heartbeat_mode(text, "kvmcl01") == "global"
    assert "region = AB" in text and "7779" not in text
    assert clusterconf.heartbeat_mode(text, "nowhere") == ""


@given(st.text(alphabet="clusternode:=\t\n #x1", max_size=200))
def test_no_text_breaks_it_and_a_second_merge_changes_nothing(text):
    once = clusterconf.merged(text, OURS)
    assert clusterconf.merged(once, OURS) == once
    names = [stanza.values for stanza in clusterconf.parse(once) if stanza.kind == "node" and clusterconf.of(stanza) == "kvmcl01"]
    assert [one["name"] for one in names] == ["kvm01", "kvm02"]
