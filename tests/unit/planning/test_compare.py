"""What `kvmontap plan --diff` says, against what the generator itself has written."""

import json
import os
import subprocess
import sys

import pytest

from kvmontap.cli import main
from kvmontap.config import parse
from kvmontap.host.mountinfo import parse as mounts_of
from kvmontap.model import Finding
from kvmontap.planning import compare
from kvmontap.planning.running import Running
from kvmontap.pools.plan import AUTOSTART, DEFINE, START, Plan, Remark
from kvmontap.units import bundle

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CONF = """[pools]
[[vms]]
protocol = nfs
server = 172.21.35.11
export = /vms
nconnect = 4
[[isos]]
protocol = nfs
server = 172.21.35.11
export = /isos
"""
MOUNTED = ("36 1 0:40 / /mnt/vms rw - nfs4 172.21.35.11:/vms rw,vers=4.1,rsize=65536,hard,proto=tcp,nconnect=4,sec=sys,addr=172.21.35.11\n"
           "37 1 0:41 / /mnt/isos rw - nfs4 172.21.35.11:/isos rw,vers=4.1,hard,proto=tcp,nconnect=4,sec=sys,addr=172.21.35.11\n")


@pytest.fixture
def root(tmp_path):
    """A host whose generator has run for CONF."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/kvmontap.conf").write_text(CONF)
    out = tmp_path / "run/systemd/generator"
    out.mkdir(parents=True)
    # As on a host, where the file that the units name is /etc/kvmontap.conf.
    script = ("import sys; from kvmontap import generator; from kvmontap.config import load; "
              "l = load(sys.argv[1] + '/etc/kvmontap.conf'); "
              "made, lost = generator.units_of(l._replace(config=l.config._replace(path='/etc/kvmontap.conf')), sys.argv[1]); "
              "sys.exit(bool(generator.write(sys.argv[1] + '/run/systemd/generator', made.files, made.links) + lost))")
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, check=True)
    (out / "mnt-others.mount").write_text("[Mount]\nWhat=x\nWhere=/mnt/others\n")
    (out / "remote-fs.target.wants/mnt-others.mount").symlink_to("../mnt-others.mount")
    storage = tmp_path / "etc/libvirt/storage"
    (storage / "autostart").mkdir(parents=True)
    for name in ("vms", "isos"):
        text = f"<pool type='dir'><name>{name}</name><target><path>/mnt/{name}</path></target></pool>"
        (storage / f"{name}.xml").write_text(text)
        (storage / f"autostart/{name}.xml").symlink_to(f"../{name}.xml")
    return tmp_path


def plan(root, *arguments):
    return main(["plan", "--root", str(root), "--config", "/etc/kvmontap.conf", *arguments])


def test_after_a_reload_nothing_differs(root, capsys):
    assert plan(root, "--diff") == 0
    assert capsys.readouterr().out == "nothing differs\n"


def test_every_kind_of_change_is_told(root, capsys):
    conf = root / "etc/kvmontap.conf"
    conf.write_text(CONF.replace("nconnect = 4", "nconnect = 8").replace("[[isos]]", "[[images]]"))
    (root / "etc/libvirt/storage/vms.xml").write_text("<pool type='dir'><name>vms</name><target><path>/srv</path></target></pool>")
    assert plan(root, "--diff") == 1
    out, err = capsys.readouterr()
    assert "+ unit mnt-images.mount: is not there yet\n" in out and "- unit mnt-isos.mount: goes\n" in out
    assert "- unit remote-fs.target.wants/mnt-isos.mount: no longer starts at boot\n" in out
    assert "~ unit mnt-vms.mount: changes\n" in out and "    -Options=vers=4.1,nconnect=4,sec=sys,hard,_netdev\n" in out
    assert "    +Options=vers=4.1,nconnect=8,sec=sys,hard,_netdev\n" in out and "units: systemctl daemon-reload, or reboot" in out
    assert "+ pool images: would be defined, autostarted from now on and started; kvmontap pool apply" in out
    assert "~ pool vms: libvirt's pool is another, and is left as it is: target path is /srv instead of /mnt/vms" in out
    assert "others" not in out and "is not asked" in err
    assert plan(root, "--diff", "--json", "images") == 1
    told = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in told["differences"]} == {"mnt-images.mount", "remote-fs.target.wants/mnt-images.mount", "images"}


def test_a_broken_section_keeps_its_units_and_is_told(root, capsys):
    (root / "run/kvmontap").mkdir()
    (root / "run/kvmontap/applied.conf").write_text(CONF)
    (root / "etc/kvmontap.conf").write_text(CONF.replace("nconnect = 4", "nconect = 4"))
    assert plan(root, "--diff") == 1
    out, err = capsys.readouterr()
    assert "mnt-vms.mount" not in out and "left out: /etc/kvmontap.conf:6: [pools/vms] nconect" in err
    assert "+ unit kvmontap-config-error@vms.service.d/50-problem.conf" in out


def test_the_units_are_those_of_the_generator(root, capsys):
    assert plan(root, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    out = root / "run/systemd/generator"
    assert told["units"] == {name: (out / name).read_text() for name in ("mnt-vms.mount", "mnt-isos.mount")}
    assert [one["units"] for one in told["pools"]] == [["mnt-vms.mount"], ["mnt-isos.mount"]] and "differences" not in told
    assert plan(root, "--units", "vms") == 0
    assert told["units"]["mnt-vms.mount"] in capsys.readouterr().out


def test_a_missing_file_and_a_pool_that_is_none(root, capsys):
    assert plan(root, "web") == 2 and "has no pool web; there are: vms, isos" in capsys.readouterr().err
    os.unlink(root / "etc/kvmontap.conf")
    assert plan(root) == 1
    out, err = capsys.readouterr()
    assert "config-error" not in out and "is not there; copy the example" in err


def mounts(text=CONF, mountinfo=MOUNTED, findings=None, units=("mnt-vms.mount", "mnt-isos.mount")):
    config = parse(text).config
    there = Running({name: "" for name in units}, {},
                    mounts_of(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n" + mountinfo.encode()))
    return compare.mounts(config, bundle(config), there, findings or {})


def test_mounts_as_they_should_be_are_silent_but_for_other_options():
    (told,) = mounts()
    assert (told.name, told.text) == ("/mnt/isos", "nconnect is 4 instead of 1") and "systemctl restart mnt-isos.mount" in told.fix
    assert mounts(mountinfo=MOUNTED.replace("/isos rw,vers=4.1,hard,proto=tcp,nconnect=4", "/isos rw,vers=4.1,hard,proto=tcp")) == []


def test_a_mount_that_is_missing_soft_wrong_or_no_pool_any_more():
    missing, = [one for one in mounts(mountinfo=MOUNTED.splitlines()[0] + "\n") if one.name == "/mnt/isos"]
    assert (missing.change, missing.fix) == ("new", "systemctl daemon-reload; systemctl start mnt-isos.mount")
    assert mounts(CONF + "[boot]\nmount = automount\n", mountinfo=MOUNTED.splitlines()[0] + "\n") == []
    soft = mounts(mountinfo=MOUNTED.replace("/vms rw,vers=4.1,rsize=65536,hard", "/vms rw,vers=4.2,rsize=65536,soft"))
    assert soft[0].text == "vers is 4.2 instead of 4.1; it is mounted soft instead of hard"
    wrong = mounts(findings={"vms": (Finding("mount.wrong-source", "failed", "another export is mounted", "umount it"),)})
    assert (wrong[0].text, wrong[0].fix) == ("another export is mounted", "umount it")
    gone = mounts(CONF.partition("[[isos]]")[0])
    assert [(one.name, one.change) for one in gone] == [("/mnt/isos", "gone")] and gone[0].fix == "kvmontap pool apply"


def test_what_pool_apply_would_do_is_told():
    told = compare.pools({"a": Plan((DEFINE, AUTOSTART, START)), "b": Plan((START,), (Remark("waiting", "it waits", "mount it"),)),
                          "c": Plan()})
    assert [(one.name, one.change, one.text) for one in told] == [
        ("a", "new", "would be defined, autostarted from now on and started"), ("b", "changed", "would be started"),
        ("b", "changed", "it waits")]
