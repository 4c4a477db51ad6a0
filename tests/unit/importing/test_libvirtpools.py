"""libvirt's pools become sections; the XML is what libvirt itself makes of a definition (its test driver writes it)."""

import json

import libvirt
import pytest

from kvmontap.cli import main
from kvmontap.config import parse
from kvmontap.host.mountinfo import parse as mounts_of
from kvmontap.importing import draft, fstab, libvirtpools
from kvmontap.importing.draft import Draft, Entry, Left
from kvmontap.importing.libvirtpools import Known
from kvmontap.importing.text import section
from kvmontap.pools import xml

DIR = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
NETFS = """<pool type='netfs'><name>isos</name><source><host name='{host}'/><dir path='/isos'/><format type='{format}'/>{version}</source>
<target><path>/mnt/isos/</path></target>
<fs:mount_opts xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>
<fs:option name='nconnect=4'/><fs:option name='noatime'/></fs:mount_opts>
</pool>"""
LOGICAL = """<pool type='logical'><name>vg</name><source><device path='/dev/sdb'/><name>vg</name><format type='lvm2'/></source>
<target><path>/dev/vg</path></target></pool>"""
FSTAB = fstab.read("172.21.35.11:/kvmnfs01 /mnt/kvmnfs01 nfs vers=4.2,nconnect=4 0 0\n"
                   "//files/kvmsmb01 /mnt/kvmsmb01 cifs credentials=/root/c 0 0\n")
MOUNTINFO = (
    "36 1 0:40 / /mnt/auto rw,noatime - nfs4 [fd00::11]:/auto rw,vers=4.1,rsize=1048576,hard,proto=tcp6,"
    "nconnect=2,sec=krb5p,clientaddr=fd00::5\n"
    "37 1 0:41 / /srv/local rw - ext4 /dev/sda1 rw\n"
)


@pytest.fixture(scope="module")
def formatted():
    """formatted(XML): the definition as libvirt writes it, with its UUID, capacity and permissions."""
    connection = libvirt.open("test:///default")

    def write(text):
        pool = connection.storagePoolDefineXML(text, 0)
        try:
            return pool.XMLDesc(0)
        finally:
            pool.undefine()

    yield write
    connection.close()


def imported(*pools, written=FSTAB):
    found = libvirtpools.entries(pools, written, mounts_of(MOUNTINFO.encode()))
    made = draft.drafts([one for one in found if isinstance(one, Entry)], libvirtpools.names(pools), ())
    return [one for one in made if isinstance(one, Draft)], [one for one in [*found, *made] if isinstance(one, Left)]


def pool_of(one):
    loaded = parse("\n".join(["[pools]", *section(one.name, one.keys, one.boot, one.notes)]))
    assert [problem for problem in loaded.problems if not problem.note] == []
    return loaded.config.pools[one.name]


def test_a_dir_pool_takes_what_fstab_mounts_there_and_keeps_its_name(formatted):
    (made,), left = imported(Known("vms", formatted(DIR.format(name="vms", path="/mnt/kvmnfs01")), False))
    pool = pool_of(made)
    assert left == [] and made.entry.instead == "comment out line 1 of /etc/fstab"
    assert (pool.name, pool.server, pool.export, pool.version, pool.target, pool.autostart, pool.type) == (
        "vms", ("172.21.35.11",), "/kvmnfs01", "4.2", "/mnt/kvmnfs01", False, "dir")


def test_a_dir_pool_on_something_mounted_by_hand(formatted):
    (made,), left = imported(Known("auto", formatted(DIR.format(name="auto", path="/mnt/auto")), True))
    pool = pool_of(made)
    assert left == [] and (pool.server, pool.export, pool.nconnect, pool.security) == (("fd00::11",), "/auto", 2, "krb5p")
    assert set(pool.options.split(",")) == {"noatime"} and "compare them with what mounts it" in made.notes[0]


@pytest.mark.parametrize("host, version", [("nfs.example.com", "4.1"), ("fd00::11", "3")])
def test_a_netfs_pool_becomes_the_same_pool(formatted, host, version):
    before = formatted(NETFS.format(host=host, format="nfs", version=f"<protocol ver='{version}'/>"))
    (made,), left = imported(Known("isos", before, True))
    pool = pool_of(made)
    assert left == [] and pool.type == "netfs"
    # kvmontap-pools.service leaves a pool that differs as it is and says so: the note tells beforehand what that is about.
    theirs, ours = xml.read(before), xml.shape(pool)
    assert theirs._replace(options=()) == ours._replace(options=())
    assert set(ours.options) - set(theirs.options) == {"hard", "sec=sys"} and set(theirs.options) <= set(ours.options)
    assert any("hard, sec=sys" in note and "kvmontap pool apply" in note for note in made.notes)


@pytest.mark.parametrize("text, reason", [
    (NETFS.format(host="files", format="cifs", version=""), "mounts cifs, which libvirt does as guest only"),
    (LOGICAL, "is of type logical: how this host reaches its device"),
    (DIR.format(name="x", path="/var/lib/libvirt/images"), "is the directory /var/lib/libvirt/images, on which no network"),
    (DIR.format(name="x", path="/mnt/kvmnfs01/images"), "lies in /mnt/kvmnfs01/images, a directory of what is mounted at /mnt/kvmnfs01"),
    (DIR.format(name="x", path="/srv/local"), "on which no network file system"),
])
def test_what_stays_and_why(formatted, text, reason):
    made, (left,) = imported(Known("x", formatted(text), True))
    assert made == [] and reason in left.reason


def test_text_that_is_no_xml_is_told():
    made, (left,) = imported(Known("x", "<pool", True))
    assert made == [] and "not well formed" in left.reason and str(left).startswith("libvirt: pool x: ")


def test_offline_the_daemons_files_are_read(formatted, tmp_path, capsys):
    storage = tmp_path / "etc/libvirt/storage"
    (storage / "autostart").mkdir(parents=True)
    for name, path in (("vms", "/mnt/kvmnfs01"), ("local", "/srv/x")):
        (storage / f"{name}.xml").write_text(formatted(DIR.format(name=name, path=path)))
    (storage / "autostart/vms.xml").symlink_to("../vms.xml")
    (tmp_path / "etc/fstab").write_text("h:/kvmnfs01 /mnt/kvmnfs01 nfs vers=4.1 0 0\n")
    assert main(["import", "libvirt", "--root", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(one["pool"], one["keys"]["server"]) for one in told["pools"]] == [("vms", "h")]
    assert "autostart" not in told["pools"][0]["keys"] and [one["what"] for one in told["left"]] == ["pool local"]
