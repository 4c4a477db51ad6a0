"""fstab lines become sections whose units mount the same thing, with systemd's own fstab-generator as the judge."""

import os
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmontap.config import parse
from kvmontap.importing import fstab
from kvmontap.importing.draft import Draft, Entry, Left, drafts, local
from kvmontap.importing.options import seconds, split
from kvmontap.importing.text import section
from kvmontap.units import bundle

GENERATOR = next((path for path in ("/usr/lib/systemd/system-generators/systemd-fstab-generator",
                                    "/lib/systemd/system-generators/systemd-fstab-generator") if os.path.exists(path)), None)
# What our units say besides; each is what a typed option of the same kind replaces.
OURS = {"hard", "sec=sys", "vers=4.1", "vers=3", "nobrl", "_netdev"}
# What fstab says and our units do anyway, or another way.
ANYWAY = {"_netdev", "nofail", "auto", "noauto", "rw", "hard", "sec=sys", "proto=tcp", "proto=tcp6", "xprtsec=none", "nconnect=1",
          "proto=rdma", "retry=10000", "fg", "x-systemd.automount", "notrunkdiscovery", "multichannel"}


def imported(text, names=None, taken=()):
    entries, left = [], []
    for one in fstab.read(text):
        (entries if isinstance(one, Entry) and local(one) is None else left).append(one)
    made = drafts(entries, names or {}, taken)
    return [one for one in made if isinstance(one, Draft)], left + [one for one in made if isinstance(one, Left)]


def units_of(made):
    lines = ["[pools]"]
    for one in made:
        lines += section(one.name, one.keys, one.boot, one.notes)
    loaded = parse("\n".join(lines), "/etc/kvmontap.conf")
    assert [problem for problem in loaded.problems if not problem.note] == []
    return bundle(loaded.config).files


def theirs(text, place):
    (place / "fstab").write_text(text)
    (place / "out").mkdir()
    env = {"PATH": os.environ["PATH"], "SYSTEMD_LOG_TARGET": "console", "SYSTEMD_FSTAB": str(place / "fstab"), "SYSTEMD_SYSFS_CHECK": "no",
           "SYSTEMD_PROC_CMDLINE": "", "SYSTEMD_IN_INITRD": "0"}
    subprocess.run([GENERATOR, str(place / "out")], env=env, check=True, capture_output=True, timeout=60)
    return {name: (place / "out" / name).read_text() for name in os.listdir(place / "out") if name.endswith("mount")}


def settings_of(text):
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line and not line.startswith("#"))


NFS_OPTIONS = st.lists(st.sampled_from([
    "vers=3", "vers=4.1", "vers=4.2", "nfsvers=4.1", "v4.2", "nconnect=1", "nconnect=4", "nconnect=16", "sec=sys", "sec=krb5p", "hard",
    "soft", "softerr", "noatime", "ro", "rw", "nodev", "nosuid", "proto=tcp", "proto=rdma", "port=20049", "port=2050", "nolock",
    "timeo=600", "retrans=2", "rsize=262144", "xprtsec=none", "xprtsec=tls", "notrunkdiscovery", "lookupcache=none",
]), max_size=6, unique_by=lambda option: {"nfsvers": "vers", "v4.2": "vers", "softerr": "hard", "soft": "hard", "rw": "ro"}.get(
    option.partition("=")[0], option.partition("=")[0]))
SMB_OPTIONS = st.lists(st.sampled_from([
    "multichannel", "max_channels=4", "vers=3.1.1", "vers=3", "uid=64055", "gid=64055", "hard", "soft", "brl", "nobrl", "seal", "noperm",
    "ro",    "file_mode=0660",
]), max_size=5, unique_by=lambda option: {"soft": "hard", "nobrl": "brl"}.get(option.partition("=")[0], option.partition("=")[0]))
FSTAB_WORDS = st.lists(st.sampled_from([
    "_netdev", "nofail", "noauto", "auto", "bg", "user", "x-systemd.automount", "x-systemd.idle-timeout=60", "x-systemd.mount-timeout=30",
    "comment=hello", "x-systemd.requires=foo.service", "x-gvfs-show",
]), max_size=4, unique_by=lambda option: {"noauto": "auto"}.get(option, option))
NAME = st.text("abcXYZ019-_. %üé'", min_size=1, max_size=12).filter(lambda text: text.strip(". ") and not text.endswith(" "))
HOST = st.sampled_from(["172.21.35.11", "nfs-1.example.com", "[fd00::11]"])


def escaped(path):
    return path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")


@st.composite
def line(draw):
    """(what, where, type, options)."""
    where = "/srv/vm/" + draw(NAME)
    words = draw(FSTAB_WORDS)
    if draw(st.booleans()):
        host = draw(HOST)
        return f"{host}:/{draw(NAME)}", where, draw(st.sampled_from(["nfs", "nfs4"])), draw(NFS_OPTIONS) + words
    return f"//files.example.com/{draw(NAME)}", where, "cifs", ["credentials=/root/smb"] + draw(SMB_OPTIONS) + words


@pytest.mark.skipif(GENERATOR is None, reason="systemd-fstab-generator is not installed")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(lines=st.lists(line(), min_size=1, max_size=8, unique_by=lambda one: one[1]))
def test_the_same_mounts_as_systemd_makes_of_it(lines, tmp_path_factory):
    text = "".join(f"{escaped(what)} {escaped(where)} {kind} {','.join(options) or 'defaults'} 0 0\n"
                   for what, where, kind, options in lines)
    made, left = imported(text)
    assert len(made) + len(left) == len(lines), "a line has got lost"
    mine, other = units_of(made), theirs(text, tmp_path_factory.mktemp("fstab"))
    for one in made:
        what, where, kind, typed = lines[one.entry.line - 1]
        name = next(name for name, unit in mine.items() if name.endswith(".mount") and settings_of(unit)["Where"].rstrip("/") ==
                    where.replace("%", "%%"))
        ours, judge = settings_of(mine[name]), settings_of(other[name])
        assert ours["What"].rstrip("/") == judge["What"].rstrip("/") and ours["Where"].rstrip("/") == judge["Where"].rstrip("/")
        # TLS goes through our own mount helper.
        assert ours["Type"] == ("kvmontap-nfs" if "xprtsec=tls" in typed else "cifs" if kind == "cifs" else "nfs")
        options, wanted = set(ours["Options"].split(",")), set(judge.get("Options", "").split(",")) - {"", "defaults"}
        wanted = {{"nfsvers=4.1": "vers=4.1", "v4.2": "vers=4.2"}.get(option, option) for option in wanted}
        extra = {option for option in options - wanted - OURS if not option.startswith("kvmontap-")}
        # One that only the kernel's default says: multichannel alone is two channels; RDMA has a port of its own.
        assert extra <= {"max_channels=2", "multichannel", "port=20049", "proto=rdma6"}, (options, wanted)
        missing = wanted - options - ANYWAY
        if "bg" in typed:  # which systemd turns into a mount in the foreground that is tried for ever
            missing = (missing - {"x-systemd.mount-timeout=infinity"}) | {"bg"}
        said = " ".join(one.notes)
        keys = {**dict(one.boot)}
        for option in missing:
            carried = {"x-systemd.idle-timeout=60": keys.get("idle-timeout") == "60",
                       "x-systemd.mount-timeout=30": keys.get("timeout") == "30"}
            assert carried.get(option) or option in said, f"{option} is lost: {one}"
        wants_automount = "x-systemd.automount" in typed
        assert (name.replace(".mount", ".automount") in mine) == wants_automount == (name.replace(".mount", ".automount") in other)
    for one in left:
        assert one.reason and one.line
        assert_reason(lines[one.line - 1], one.reason)


def assert_reason(entry, reason):
    """Only what a pool really cannot be stays behind."""
    what, where, kind, options = entry
    rdma_and_tls = "proto=rdma" in options and "xprtsec=tls" in options
    blank = kind == "cifs" and what.rpartition("/")[2].startswith(" ")
    assert rdma_and_tls or blank or "control character" in reason, (entry, reason)


@pytest.mark.parametrize("line, reason", [
    ("h:/a /mnt/a nfs vers=4.0", "asks for NFS 4.0"),
    ("h:/a /mnt/a nfs vers=2", "asks for NFS 2"),
    ("h:/a /mnt/a nfs udp", "asks for udp"),
    ("h:/a /mnt/a nfs vers=3,nconnect=64", "nconnect is 64"),
    ("h:/a /mnt nfs vers=3", "belongs to the system"),
    ("h /mnt/a nfs vers=3", "is no HOST:/PATH"),
    ("//h/s/sub /mnt/a cifs credentials=/c", "a directory below the share"),
    ("//h /mnt/a cifs credentials=/c", "is no //SERVER/SHARE"),
    ("LABEL=x /mnt/a ocfs2 _netdev", "is a block device"),
    ("h:/a", "fewer than three fields"),
])  # fmt: skip
def test_what_stays_and_why(line, reason):
    made, left = imported(line)
    if not left or isinstance(left[0], Entry):
        left += [local(one) for one in fstab.read(line) if isinstance(one, Entry) and local(one)]
    told = [one for one in left if isinstance(one, Left)]
    assert made == [] and len(told) == 1 and reason in told[0].reason and str(told[0]).startswith("/etc/fstab:1: ")


def test_local_file_systems_are_harmless():
    told = [local(one) for one in fstab.read("UUID=x / ext4 defaults 0 1\nUUID=y none swap sw 0 0\n")]
    assert [one.harmless for one in told] == [True, True]


def test_no_secret_is_repeated():
    made, _ = imported("//h/s /mnt/s cifs username=u%geheim1,password=geheim2,pass=geheim3,password2=geheim4 0 0")
    text = repr([(one.name, one.keys, one.boot, one.notes) for one in made])
    assert "geheim" not in text and ("credentials", "/etc/kvmontap/s.smb") in made[0].keys


def test_versions_that_are_left_open_are_told():
    made, _ = imported("h:/a /mnt/a nfs defaults 0 0\nh:/b /mnt/b nfs vers=4,minorversion=2 0 0\n")
    assert "no vers=" in made[0].notes[0] and ("version", "4.2") in made[1].keys and made[1].notes == ()


def test_names_come_from_libvirt_or_the_path_and_are_free():
    made, left = imported("h:/a /srv/a nfs vers=4.1\nh:/b /mnt/a nfs vers=4.1\nh:/c /srv/c nfs vers=4.1\nh:/d /srv/c nfs vers=4.1\n",
                          {"/srv/c": "vms"}, taken=("a",))
    assert [one.name for one in made] == ["a-2", "a-3", "vms"]
    assert "by line 3 already" in left[0].reason


@pytest.mark.parametrize("text, wanted", [("90", 90), ("1min 30s", 90), ("1min30s", 90), ("2h", 7200), ("500ms", 0.5), ("infinity", None),
                                          ("", None), ("s", None), ("1x", None)])
def test_time_spans(text, wanted):
    assert seconds(text) == wanted


def test_quoted_options():
    assert split('a,b="x,y",c') == ("a", 'b="x,y"', "c")
