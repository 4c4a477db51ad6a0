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
