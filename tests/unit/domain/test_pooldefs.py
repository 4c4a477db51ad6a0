"""kvmontap.domain.pooldefs: libvirt's pool files read without libvirt, whatever lies beside them."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmontap.domain import pooldefs, tree
from kvmontap.domain.pooldefs import PoolDef

DIR = """<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh pool-edit {name}
or other application using the libvirt API.
-->

<pool type='dir'>
  <name>{name}</name>
  <uuid>1f0a0f4a-8c2d-4f69-9a52-7a0ad9c2c5d1</uuid>
  <capacity unit='bytes'>0</capacity>
  <source>
  </source>
  <target>
    <path>{target}</path>
  </target>
</pool>
"""


def write(root, where, name, text):
    folder = root / where
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_the_state_of_an_active_pool_counts_more_than_its_definition(tmp_path):
    write(tmp_path, "etc/libvirt/storage", "a.xml", DIR.format(name="a", target="/mnt/defined"))
    write(tmp_path, "etc/libvirt/storage", "b.xml", DIR.format(name="b", target="/mnt/b"))
    write(tmp_path, "run/libvirt/storage", "a.xml",
          "<poolstate>\n" + DIR.format(name="a", target="/mnt/active").split("-->")[1] + "</poolstate>")
    notes = []
    assert pooldefs.read(str(tmp_path), notes) == {
        "a": PoolDef("a", "dir", "/mnt/active"), "b": PoolDef("b", "dir", "/mnt/b")
    }
    assert not notes


def test_broken_files_are_passed_over_and_told(tmp_path):
    write(tmp_path, "etc/libvirt/storage", "good.xml", DIR.format(name="good", target="/mnt/good"))
    write(tmp_path, "etc/libvirt/storage", "cut.xml", DIR.format(name="cut", target="/x")[:-20])
    write(tmp_path, "etc/libvirt/storage", "empty.xml", "")
    write(tmp_path, "etc/libvirt/storage", "net.xml", "<network><name>x</name></network>")
    write(tmp_path, "etc/libvirt/storage", "nameless.xml", "<pool type='dir'/>")
    write(tmp_path, "etc/libvirt/storage", "notes.txt", "ignored")
    folder = tmp_path / "etc/libvirt/storage"
    os.mkfifo(folder / "pipe.xml")
    (folder / "loop.xml").symlink_to("loop.xml")
    (folder / "directory.xml").mkdir()
    (folder / "autostart").mkdir()
    notes = []
    started = time.monotonic()
    assert list(pooldefs.read(str(tmp_path), notes)) == ["good"]
    assert time.monotonic() - started < 2  # the pipe held nobody up
    told = {os.path.basename(note.split(" is passed over")[0]): note for note in notes}
    assert sorted(told) == [
        "cut.xml", "directory.xml", "empty.xml", "loop.xml", "nameless.xml", "net.xml", "pipe.xml"
    ]
    assert "not well-formed" in told["cut.xml"] and "no name" in told["nameless.xml"]
    assert "not a regular file" in told["pipe.xml"]


def test_a_host_without_libvirt_has_no_pools(tmp_path):
    notes = []
    assert pooldefs.read(str(tmp_path), notes) == {} and not notes


@pytest.mark.parametrize(
    "xml, expected",
    [
        ("<pool type='netfs'><name>n</name><source><host name='10.0.0.1'/><dir path='/exp'/><format type='nfs'/></source>"
         "<target><path>/mnt/n</path></target></pool>", PoolDef("n", "netfs", "/mnt/n", "10.0.0.1:/exp")),
        ("<pool type='logical'><name>vg0</name><source><device path='/dev/sdb'/><name>vg0</name></source>"
         "<target><path>/dev/vg0</path></target></pool>", PoolDef("vg0", "logical", "/dev/vg0", "/dev/sdb")),
        ("<pool type='logical'><source><name>vg1</name></source></pool>", PoolDef("vg1", "logical", "", "vg1")),
        ("<pool type='iscsi'><name>i</name><source><host name='h'/><device path='iqn.x'/><auth type='chap'"
         " username='SECRET'><secret usage='SECRET'/></auth></source><target><path>/dev/disk/by-path</path></target></pool>",
         PoolDef("i", "iscsi", "/dev/disk/by-path", "iqn.x")),
    ],
)
def test_kinds_of_pools(xml, expected):
    assert pooldefs.parse(xml.encode()) == expected


def test_where_a_volume_is_opened():
    assert pooldefs.volume_path(PoolDef("a", "dir", "/mnt/a"), "vm.qcow2") == "/mnt/a/vm.qcow2"
    assert pooldefs.volume_path(PoolDef("a", "netfs", "/mnt/a"), "/etc/x") == "/mnt/a/etc/x"
    assert pooldefs.volume_path(PoolDef("a", "logical", "/dev/vg"), "lv") == "/dev/vg/lv"
    assert pooldefs.volume_path(PoolDef("a", "iscsi", "/dev/disk/by-path"), "unit:0:0:1") == ""
    assert pooldefs.volume_path(PoolDef("a", "dir", "relative"), "x") == ""


def test_an_entity_bomb_in_a_pool_file_is_refused():
    with pytest.raises(tree.XmlError, match="document type"):
        pooldefs.parse(b"<!DOCTYPE p [<!ENTITY a 'b'>]><pool><name>&a;</name></pool>")


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda t: DIR.format(name=t, target=t).encode("utf-8", "replace"))))
def test_any_bytes_are_a_pool_or_an_error(xml):
    try:
        pool = pooldefs.parse(xml)
    except tree.XmlError as error:
        assert str(error).isprintable()
    else:
        assert pool.name
