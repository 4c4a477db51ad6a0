"""Bundles: what holds for every one of them."""

import base64

import pytest
from hypothesis import given, settings, strategies as st

from kvmontap.model import Boot, Config, Pool, Problem
from kvmontap.units import bundle, nfs
from kvmontap.units.errors import error_unit
from kvmontap.units.mounted import Owner, defaults

SOUND = Pool("a", "nfs", target="/mnt/a", server=("10.0.0.1",), export="/a")


def config(*pools):
    return Config({}, {pool.name: pool for pool in pools}, {}, path="/etc/kvmontap.conf")


def test_a_bug_costs_one_pool_only():
    broken = SOUND._replace(name="b", target=None)  # what no configuration gives
    found = bundle(config(SOUND, broken, SOUND._replace(name="c", target="/mnt/c")))
    assert {"mnt-a.mount", "mnt-c.mount"} <= set(found.files)
    assert len(found.bugs) == 1 and found.bugs[0].startswith("pool b: ")


@pytest.mark.parametrize("change", [
    {"options": "rw\n[Service]\nExecStart=/bin/false"}, {"export": "/a\nType=tmpfs"}, {"target": "/mnt/a\rb"}, {"server": ("10.0.0.1\n",)},
    {"protocol": "smb", "share": "x", "credentials": "/root/a,uid=0"}, {"protocol": "smb", "share": "x\n", "credentials": "/root/a"},
])
def test_a_value_that_would_say_more_is_refused(change):
    """The configuration refuses these; units must not depend on it."""
    found = bundle(config(SOUND._replace(**change)))
    assert found.bugs == ()
    assert not any(path.endswith("mount") for path in found.files)
    assert len(found.problems) == 1


TEXT = st.text(max_size=12)


@settings(max_examples=300, deadline=None)
@given(export=TEXT, target=TEXT, options=TEXT, server=st.lists(TEXT.filter(bool), min_size=1, max_size=3), name=TEXT.filter(bool))
def test_no_value_leaves_its_line(export, target, options, server, name):
    pool = SOUND._replace(export="/" + export, target="/mnt/" + target, options=options, server=tuple(server))
    found = bundle(config(pool))
    for path, text in found.files.items():
        if path.endswith(".mount"):
            heads = [line.partition("=")[0] for line in text.split("\n") if line and line[0] not in "#["]
            assert heads == ["Description", "Documentation", "SourcePath", "Before", "Wants",
                             "What", "Where", "Type", "Options", "TimeoutSec"]
            assert not any(line.endswith("\\") for line in text.split("\n"))
    assert found.bugs == ()


def test_the_error_unit_says_what_is_wrong():
    problem = Problem("/etc/kvmontap.conf", 7, "pools/größe", "export", "is wrong: \\ % \x1b")
    found = bundle(config(), [problem, Problem("/etc/kvmontap.conf", 9, "pools/größe", "", "is wrong again")])
    (path,) = found.files
    assert path == error_unit(problem) + ".d/50-problem.conf"
    data = found.files[path].split("StandardInputData=")[1]
    assert base64.b64decode(data).decode().splitlines() == [str(problem), "/etc/kvmontap.conf:9: [pools/größe]: is wrong again"]
    assert "\x1b" not in found.files[path]
    assert list(found.links) == [f"multi-user.target.wants/{error_unit(problem)}"]


def test_what_is_only_worth_knowing_fails_nothing():
    found = bundle(config(SOUND), [Problem("k", 1, "pools/a", "nconnect", "differs", fatal=False, note=True)])
    assert not any("error" in path for path in [*found.files, *found.links])


def test_a_secret_is_never_in_a_unit(tmp_path):
    secret = tmp_path / "smbpass"
    secret.write_text("username=u\npassword=geheim\n")
    pool = SOUND._replace(protocol="smb", share="s", credentials=str(secret))
    assert "geheim" not in str(bundle(config(pool), owner=Owner(1, 1)))


def test_user_options_win():
    pool = SOUND._replace(options="soft,timeo=50")
    assert nfs.mounted(pool).options == "vers=4.1,sec=sys,soft,timeo=50,_netdev"
    assert defaults("a=1,b", ("a=2",), ("c",), ("b=3", "d")) == ["c"]


@pytest.mark.parametrize("seconds, wait", [(90, 85), (10, 8), (1, 1), (3600, 3595)])
def test_the_mount_program_gives_up_before_systemd_ends_it(seconds, wait):
    pool = SOUND._replace(server=("10.0.0.1", "10.0.0.2"), boot=Boot(timeout=seconds))
    assert f"kvmontap-wait={wait}," in nfs.mounted(pool).options
    assert f"TimeoutSec={seconds}\n" in bundle(config(pool)).files["mnt-a.mount"]


@pytest.mark.parametrize("kind", ["iscsi", "iscsi-direct"])
def test_what_libvirt_attaches_itself_gets_no_unit_of_ours(kind):
    found = bundle(config(Pool("x", "iscsi", type=kind, portals=("10.0.0.1",), iqn=("iqn.x:y",))))
    # libvirtd waits for the network, that is all.
    network = {f"{service}.d/50-kvmontap-network.conf" for service in ("libvirtd.service", "virtstoraged.service")}
    assert (set(found.files), set(found.links), found.problems) == (network, {"sysinit.target.wants/kvmontap-lvm.service"}, ())
