"""Storage pool XML: what is rendered is read back as the same, and what differs is named."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap.config import parse
from kvmontap.model import Pool
from kvmontap.pools import xml

NETFS = Pool("n1", "nfs", "/mnt/n1", "netfs", ("172.21.35.11",), "/n1", "4.2", nconnect=4, options="noatime")


def test_a_dir_pool_names_its_target_only():
    assert xml.wanted(Pool("kvmnfs01", "nfs", "/mnt/kvmnfs01")) == (
        '<pool type="dir"><name>kvmnfs01</name><target><path>/mnt/kvmnfs01</path></target></pool>'
    )


def test_a_netfs_pool_carries_source_version_and_options():
    root = ElementTree.fromstring(xml.wanted(NETFS))
    assert root.find("source/host").get("name") == "172.21.35.11"
    assert root.find("source/dir").get("path") == "/n1"
    assert root.find("source/format").get("type") == "nfs"
    assert root.find("source/protocol").get("ver") == "4.2"
    options = [option.get("name") for option in root.iter() if option.tag.endswith("}option")]
    assert options == sorted(options) and {"nconnect=4", "noatime", "hard"} <= set(options)
    assert not [option for option in options if option.startswith(("vers=", "_netdev", "kvmontap"))]


def test_what_only_our_mount_helper_knows_stays_out_of_libvirt():
    form = xml.shape(NETFS._replace(server=("172.21.35.11", "172.21.36.11"), tls="tls"))
    assert form.hosts == ("172.21.35.11",)
    assert not [option for option in form.options if option.startswith("kvmontap")]
    assert "xprtsec=tls" in form.options


def test_every_sound_pool_of_a_file_can_be_rendered():
    loaded = parse("[pools]\n[[a b]]\nprotocol = nfs\nserver = 10.0.0.1\nexport = /a\ntarget = /mnt/a\n", "x")
    for pool in loaded.config.pools.values():
        assert xml.differences(xml.shape(pool), xml.read(xml.wanted(pool))) == ()


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xFFFD, exclude_categories=("Cs", "Cc")), max_size=20)


@given(TEXT, TEXT, st.lists(TEXT, max_size=3))
def test_rendered_and_read_back_is_the_same(name, target, options):
    form = xml.Shape("netfs", "/" + target, ("h",), "/" + target, "nfs", "4.1", tuple(sorted(options)))
    assert xml.differences(form, xml.read(xml.render(name, form))) == ()


@pytest.mark.parametrize(
    "theirs, said",
    [
        ({"type": "fs"}, ("type is fs instead of netfs",)),
        ({"target": "/srv/n1"}, ("target path is /srv/n1 instead of /mnt/n1",)),
        ({"target": "/mnt//n1/"}, ()),
        ({"hosts": ("172.21.36.11",)}, ("source host is 172.21.36.11 instead of 172.21.35.11",)),
        ({"directory": "/n1/"}, ()),
        ({"version": ""}, ("protocol version is not set instead of 4.2",)),
        ({"options": (), "version": "3"}, ("protocol version is 3 instead of 4.2",
                                           "mount options is not set instead of hard,nconnect=4,noatime,sec=sys")),
    ],
)  # fmt: skip
def test_differences_are_named_as_the_user_knows_them(theirs, said):
    ours = xml.shape(NETFS)
    assert xml.differences(ours, ours._replace(**theirs)) == said


def test_what_libvirt_adds_is_no_difference():
    text = """<pool type='dir'><name>n1</name><uuid>2c2ba7e0-7a4c-4b8e-8a52-bb5d6a1d1b6e</uuid>
    <capacity unit='bytes'>1</capacity><allocation unit='bytes'>1</allocation><available unit='bytes'>0</available><source></source>
    <target><path>/mnt/n1</path><permissions><mode>0755</mode><owner>0</owner><group>0</group></permissions></target></pool>"""
    assert xml.differences(xml.Shape("dir", "/mnt/n1"), xml.read(text)) == ()


def test_xml_that_is_cut_short_is_one_sentence():
    with pytest.raises(ValueError, match="not well formed"):
        xml.read("<pool type='dir'><name>")


# -- pools on block devices

IQN = "iqn.1992-08.com.netapp:sn.1:vs.3"
LUN = Pool("b1", "iscsi", portals=("172.21.37.14", "172.21.37.15:3261"), wwid="3600a098038314c57312b58387638574f")
MAP = "/dev/disk/by-id/dm-uuid-mpath-3600a098038314c57312b58387638574f"
BLOCK = {
    "logical": (LUN._replace(type="logical", vg="vg_kvm"),
                xml.Shape("logical", "/dev/vg_kvm", name="vg_kvm", format="lvm2")),
    "disk": (LUN._replace(type="disk"), xml.Shape("disk", "/dev", device=MAP, format="gpt")),
    "fs": (LUN._replace(type="fs", filesystem="xfs", target="/mnt/b1", options="noatime"),
           xml.Shape("fs", "/mnt/b1", device=MAP, format="xfs", options=("_netdev", "noatime"))),
    "iscsi": (LUN._replace(type="iscsi", iqn=(IQN,), wwid=""),
              xml.Shape("iscsi", "/dev/disk/by-path", ("172.21.37.14",), device=IQN)),
    "iscsi-direct": (LUN._replace(type="iscsi-direct", iqn=(IQN,), wwid="", portals=("[fd00::1]:3261",)),
                     xml.Shape("iscsi-direct", "", ("[fd00::1]:3261",), device=IQN)),
    "mpath": (LUN._replace(type="mpath", wwid=""), xml.Shape("mpath", "/dev/mapper")),
    "scsi": (LUN._replace(type="scsi", adapter="scsi_host2", wwid=""), xml.Shape("scsi", "/dev/disk/by-path", adapter="scsi_host2")),
}


@pytest.mark.parametrize("kind", BLOCK)
def test_a_block_pool_is_rendered_and_read_back(kind):
    pool, form = BLOCK[kind]
    assert xml.shape(pool) == form
    assert xml.differences(form, xml.read(xml.wanted(pool, "iqn.host"))) == ()


def test_iscsi_direct_names_the_initiator_and_ipv6_has_no_brackets_in_xml():
    root = ElementTree.fromstring(xml.wanted(BLOCK["iscsi-direct"][0], "iqn.1993-08.org.debian:01:host"))
    assert root.find("source/initiator/iqn").get("name") == "iqn.1993-08.org.debian:01:host"
    assert (root.find("source/host").get("name"), root.find("source/host").get("port")) == ("fd00::1", "3261")
    assert ElementTree.fromstring(xml.wanted(BLOCK["iscsi"][0], "iqn.host")).find("source/initiator") is None


@pytest.mark.parametrize("kind, change, said", [
    ("logical", {"name": "vg_other"}, "source name is vg_other instead of vg_kvm"),
    ("disk", {"device": "/dev/sdb"}, f"source device is /dev/sdb instead of {MAP}"),
    ("iscsi", {"hosts": ("172.21.37.15",)}, "source host is 172.21.37.15:3260 instead of 172.21.37.14:3260"),
    ("scsi", {"adapter": "scsi_host3"}, "source adapter is scsi_host3 instead of scsi_host2"),
    ("fs", {"options": ("noatime",)}, "mount options is noatime instead of _netdev,noatime"),
])
def test_what_a_block_pool_has_otherwise(kind, change, said):
    form = BLOCK[kind][1]
    assert xml.differences(form, form._replace(**change)) == (said,)


def test_the_port_that_libvirt_takes_by_itself_is_no_difference():
    form = BLOCK["iscsi"][1]
    assert xml.differences(form, form._replace(hosts=("172.21.37.14:3260",))) == ()
