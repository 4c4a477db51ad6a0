"""The configuration: what it accepts, and that everything wrong is one located sentence while the rest keeps working."""

import os
import stat
import time

import pytest
from hypothesis import given, settings, strategies as st

from kvmontap import model
from kvmontap.config import load, parse
from kvmontap.config.onhost import look
from kvmontap.config.secrets import SecretError, read_secret
from kvmontap.config.table import KEYS, POLICIES, POOL, POOL_TYPES

HEAD = "[pools]\n"
NFS = "[[a]]\nprotocol = nfs\nserver = 10.1.0.1\nexport = /a\n"
SMB = "[[s]]\nprotocol = smb\nserver = files.example.com\nshare = s\ncredentials = /root/smbpass\n"
DESIGN = os.path.join(os.path.dirname(__file__), "design.conf")


def pool(lines, base=NFS):
    """The one pool of NFS plus `lines`, and the problems."""
    loaded = parse(HEAD + base + lines, "k.conf")
    return next(iter(loaded.config.pools.values()), None), loaded


def said(loaded):
    return [str(problem) for problem in loaded.problems]


def test_the_five_pools_of_the_design():
    loaded = load(DESIGN)
    assert said(loaded) == []
    pools = loaded.config.pools
    assert list(pools) == ["kvmnfs01", "kvmsmb01", "kvmiscsi01", "kvmns01", "kvmfc01"]
    nfs = pools["kvmnfs01"]
    assert (nfs.server, nfs.nconnect, nfs.trunking, nfs.target) == (("172.21.35.11", "172.21.36.11"), 4, True, "/mnt/kvmnfs01")
    assert nfs.gate.min_free == (10 * 2**30, "B") and pools["kvmsmb01"].gate.min_free == (5.0, "%")
    assert nfs.snapshots.before == ("start", "migrate")
    cluster = loaded.config.clusters["kvmcl01"]
    assert cluster.heartbeat_threshold == 61
    assert [(node.name, node.number, node.port) for node in cluster.nodes] == [("kvm01", 0, 7777), ("kvm02", 7, 7778)]
    assert loaded.config.arrays["prod"].timeout == 10.0


def test_every_key_has_a_record_field_a_text_and_a_working_default():
    records = {"ontap": model.Array, "pools": model.Pool, "clusters": model.Cluster, "boot": model.Boot, "gate": model.Gate,
               "snapshots": model.Snapshots, "metrics": model.Metrics}
    for section, keys in KEYS.items():
        fields = records[section]._fields
        for key in keys:
            assert key.name.replace("-", "_") in fields, f"{section}/{key.name} has no field"
            assert len(key.help) > 15, f"{section}/{key.name} has no text"
            assert not key.help.endswith("."), key.name
        extra = set(fields) - {key.name.replace("-", "_") for key in keys} - {"name", "nodes"} - set(POLICIES)
        assert not extra, f"{section}: fields without a key: {extra}"


def test_the_defaults_of_the_table_are_those_of_the_records():
    body = "".join(f"[{name}]\n" + "".join(f"{key.name} = {key.default}\n" for key in keys) for name, keys in POLICIES.items())
    loaded = parse(body + HEAD + NFS)
    assert said(loaded) == []
    config = loaded.config
    assert (config.boot, config.gate, config.snapshots) == (model.Boot(), model.Gate(), model.Snapshots())
    defaults = "".join(f"{key.name} = {key.default}\n" for key in POOL if not key.needed and not key.protocols and key.default)
    assert pool(defaults)[0] == pool("")[0]


@pytest.mark.parametrize("lines, line, reason", [
    ("nconect = 4\n", 6, "pools/a] nconect: is no key of this section; did you mean nconnect?"),
    ("nconnect = 17\n", 6, "is 17, must be from 1 to 16"),
    ("nconnect = four\n", 6, "'four', must be a whole number"),
    ("version = 4.0\n", 6, "must be one of: 3, 4.1, 4.2"),
    ("share = x\n", 6, "belongs to smb, not to nfs"),
    ("trunking = yes\n", 6, "needs at least two addresses"),
    ("target = mnt\n", 6, "must be an absolute path"),
    ("target = /mnt/../etc\n", 6, "must not have '..'"),
    ("target = /var/lib\n", 6, "belongs to the system"),
    ("target = '/mnt/a\tb'\n", 6, "control character"),
    ("options = rw,x-systemd.automount\n", 6, "only means something in fstab"),
    ("options = nconnect=8\n", 6, "which the key nconnect decides"),
    ("options = 'rw, password=geheim'\n", 6, "a secret belongs in the credentials file"),
    ("type = logical\n", 6, "logical makes no sense with nfs; it works with iscsi, fc"),
    ("ontap = prod\n", 6, "[ontap] has no subsection [[prod]]"),
    ("[[[gat]]]\nmode = warn\n", 6, "is no subsection here; did you mean gate?"),
    ("[[[gate]]]\nmode = maybe\n", 7, "must be one of: enforce, warn, off"),
    ("[[[gate]]]\nmin-free = 100%\n", 7, "must be below 100%"),
    ("[[[snapshots]]]\nbefore = stop\n", 7, "must be start, migrate or none"),
    ("[[[snapshots]]]\nlabel = a b\n", 7, "1 to 31 letters"),
    ("[[[snapshots]]]\nrequired = yes\n", 2, "names no array"),
    ("tls = tls\ntransport = rdma\n", 6, "works over TCP only"),
    ("autostart = maybe\n", 6, "must be yes or no"),
    ("version = 4.1\nversion = 4.2\n", 7, "version stands here for the second time"),
    ("what is this\n", 6, "write KEY = VALUE"),
    ('export = """x\n', 6, "three quotes"),
])
def test_each_wrong_value_is_one_located_sentence(lines, line, reason):
    _, loaded = pool(lines)
    assert len(loaded.problems) == 1, said(loaded)
    text = str(loaded.problems[0])
    assert text.startswith(f"k.conf:{line}: [pools/a") and reason in text, text
    assert "geheim" not in text


@pytest.mark.parametrize("server, reason", [
    ("10.1.0.256", "no IPv4 address"), ("10.1", "no IPv4 address"), ("-a.example", "no host name"), ("a,a", "a twice"),
    ("a b", "no host name"), ("fe80::zz", "no IPv6 address"), ("a:2049", "no IPv6 address"), ("x,nolock", ""),
])
def test_servers(server, reason):
    loaded = parse(HEAD + NFS.replace("10.1.0.1", server))
    if reason:
        assert [reason in text for text in said(loaded)] == [True]
    else:
        assert loaded.config.pools["a"].server == ("x", "nolock")  # a list of two hosts, never a mount option


def test_ipv6_addresses_come_out_bare():
    found = parse(HEAD + NFS.replace("10.1.0.1", "fd00::1, [fd00::2], fe80::1%eth0")).config.pools["a"]
    assert found.server == ("fd00::1", "fd00::2", "fe80::1%eth0")


def test_all_problems_at_once_and_the_sound_pools_stay():
    loaded = parse("[ontap]\n[[x]]\n[[[y]]]\n[gate]\nmode = no\n[pools]\n" + NFS + "bad = 1\nworse = 2\n" + SMB
                   + "[[t]]\nprotocol = nfs\n[snapshot]\n[clusters]\n[[c]]\n", "k.conf")
    assert list(loaded.config.pools) == ["s"]
    assert loaded.broken == ("a", "t")
    lines = [problem.line for problem in loaded.problems]
    assert lines == sorted(lines)
    text = "\n".join(said(loaded))
    for part in ("bad", "worse", "has no server", "has no export", "did you mean snapshots?", "has no nodes", "[gate] mode"):
        assert part in text
    assert loaded.config.gate.mode == "enforce"


@pytest.mark.parametrize("header, sound", [
    ("[[s]", ["a", "z"]), ("[s]]", ["a", "z"]), ("[[a]]", ["a", "z"]), ("[[[s]]", ["a", "z"]),
])
def test_a_broken_header_takes_only_its_own_pool(header, sound):
    text = HEAD + NFS + SMB.replace("[[s]]", header) + NFS.replace("/a", "/z").replace("[[a]]", "[[z]]")
    loaded = parse(text)
    assert list(loaded.config.pools) == sound
    # Nothing of the broken pool has leaked into the one above it.
    if "a" in loaded.config.pools:
        assert loaded.config.pools["a"].protocol == "nfs" and loaded.config.pools["a"].share == ""
    assert any(problem.line == 6 for problem in loaded.problems)


@pytest.mark.parametrize("header", ["[pools", "[pools]]", "[[pools]"])
def test_the_header_of_all_pools_is_mended_since_what_is_meant_is_plain(header):
    loaded = parse("[ontap]\n" + header + "\n" + NFS)
    assert list(loaded.config.pools) == ["a"] and len(loaded.problems) == 1


def test_the_pools_of_a_second_pools_section_are_known_as_broken():
    loaded = parse(HEAD + NFS + HEAD + SMB)
    assert list(loaded.config.pools) == ["a"] and loaded.broken == ("s",)


def test_targets_that_collide():
    two = HEAD + NFS + NFS.replace("[[a]]", "[[b]]") + "target = /mnt/a/\n"
    loaded = parse(two)
    assert list(loaded.config.pools) == ["a"] and "the target of pool a too" in said(loaded)[0]
    nested = HEAD + NFS + NFS.replace("[[a]]", "[[b]]") + "target = /mnt/a/b/c\n"
    loaded = parse(nested)
    assert list(loaded.config.pools) == ["a"] and "below /mnt/a of pool a" in said(loaded)[0]


def test_different_nconnect_to_one_server_is_told_to_both_and_breaks_neither():
    loaded = parse(HEAD + NFS + "nconnect = 4\n" + NFS.replace("[[a]]", "[[b]]"))
    assert list(loaded.config.pools) == ["a", "b"]
    assert [problem.section for problem in loaded.problems] == ["pools/a", "pools/b"]
    assert all(problem.note and "the first mount decides" in problem.reason for problem in loaded.problems)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# only a comment \xff\n", b"\xef\xbb\xbf[boot]\ntimeout = 5\n", b"[pools]\r\n"])
def test_files_with_nothing_in_them(tmp_path, content):
    path = tmp_path / "k.conf"
    path.write_bytes(content)
    loaded = load(str(path))
    assert loaded.config.pools == {} and loaded.problems == ()


def test_files_that_are_none(tmp_path):
    path = tmp_path / "k.conf"
    assert "is not there" in said(load(str(path)))[0]
    path.write_bytes(bytes(range(256)) * 40)
    assert "not a text file" in said(load(str(path)))[0]
    assert "cannot be read" in said(load(str(tmp_path)))[0]
    path.write_bytes(b"x" * (9 << 20))
    assert "more than a configuration can be" in said(load(str(path)))[0]
    os.unlink(path)
    os.mkfifo(path)  # must not block
    assert load(str(path)).config.pools == {}


def test_latin1_in_a_value():
    loaded = parse(HEAD.encode() + NFS.encode() + b"volume = gr\xfcn\n")
    assert "is not UTF-8 text" in said(loaded)[0]


def test_a_hundred_thousand_lines_and_linear_time():
    def seconds(count):
        text = HEAD + "".join(NFS.replace("[[a]]", f"[[a{n}]]") + "\n" * 5 for n in range(count))
        start = time.process_time()
        assert len(parse(text).config.pools) == count
        return time.process_time() - start

    small, large = min(seconds(1000) for _ in range(3)), seconds(10000)
    assert large < 25 * small, f"10x the pools took {large / small:.0f}x the time"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_problems_or_records_never_an_exception(data):
    loaded = parse(data)
    assert all(problem.reason and "\n" not in str(problem) for problem in loaded.problems)


FRAGMENTS = st.sampled_from(["[pools]", "[[a]]", "[[b]]", "[[[gate]]]", "[ontap]", "[[x]", "protocol = nfs", "server = a, b", "export = /x",
                             "server", "= 3", "'", '"""', "mode = off", "timeout=1", "[clusters]", "[[[nodes]]]", "k = 'a", "\ud800", ","])


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAGMENTS, max_size=30))
def test_any_order_of_real_pieces(pieces):
    loaded = parse("\n".join(pieces).encode("utf-8", "surrogatepass"))
    for found in loaded.config.pools.values():
        assert found.protocol and found.target.startswith("/")
        assert found.name not in loaded.broken


def test_secrets_that_others_can_read_are_refused_and_never_shown(tmp_path):
    path = tmp_path / "password"
    path.write_text("geheim\n")
    os.chmod(path, 0o644)
    with pytest.raises(SecretError) as caught:
        read_secret(str(path))
    assert "chmod 600" in str(caught.value) and "geheim" not in str(caught.value)
    os.chmod(path, 0o600)
    assert read_secret(str(path)) == "geheim"
    path.write_text("\n")
    with pytest.raises(SecretError, match="is empty"):
        read_secret(str(path))
    with pytest.raises(SecretError, match="systemd credential"):
        read_secret("prod.password")


def test_what_only_the_host_can_tell(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/a").symlink_to("/srv")
    password = tmp_path / "root/smbpass"
    password.write_text("user=x\n")
    os.chmod(password, stat.S_IRUSR | stat.S_IROTH)
    loaded = parse("[ontap]\n[[p]]\naddress = a\nusername = u\npassword-file = /root/none\nca = /root/smbpass\n" + HEAD + NFS + SMB)
    texts = [str(problem) for problem in look(loaded.config, str(tmp_path))]
    assert any("/root/none is not there" in text for text in texts)
    assert any("no PEM certificate" in text for text in texts)
    assert any("can be read by others (mode 0404)" in text for text in texts)
    assert any("/mnt/a is a symbolic link" in text for text in texts)
    os.chmod(password, 0o600)
    assert any("no line username=" in str(problem) for problem in look(loaded.config, str(tmp_path)))


def test_every_pool_type_names_the_protocols_it_would_work_with():
    for kind, protocols in POOL_TYPES.items():
        if model.NFS not in protocols:
            _, loaded = pool(f"type = {kind}\n")
            assert f"it works with {', '.join(protocols)}" in said(loaded)[0]


CLUSTER = "[clusters]\n[[%s]]\n[[[nodes]]]\n%s\n"


@pytest.mark.parametrize("name, node, words", [
    ("kvm-cl01", "kvm01 = 10.0.0.1", "up to 16 letters and digits"),
    ("kvmcl01kvmcl01kvm", "kvm01 = 10.0.0.1", "up to 16 letters and digits"),
    ("kvmcl01", "kvm01 = fd00::1", "IPv4 address"),
    ("kvmcl01", "kvm01 = kvm01.example.com", "IPv4 address"),
])
def test_what_an_o2cb_cluster_cannot_be(name, node, words):
    loaded = parse(CLUSTER % (name, node), "k.conf")
    assert loaded.config.clusters == {} and words in said(loaded)[0]


def test_a_device_has_its_own_partitions():
    lun = "[pools]\n[[a]]\nprotocol = iscsi\nportals = 10.0.0.1\nfilesystem = xfs\ndevice = /dev/disk/by-label/x\npartition = 1\n"
    assert "means nothing beside device" in said(parse(lun, "k.conf"))[0]


LUN = "[pools]\n[[a]]\nprotocol = iscsi\nportals = 10.0.0.1\nfilesystem = xfs\nwwid = %s\n"


@pytest.mark.parametrize("typed", ["naa.600A098038314c57312b58387638574f", "0x600a098038314c57312b58387638574f",
                                   "600a098038314c57312b58387638574f"])
def test_a_wwid_as_others_spell_it_is_told_as_multipath_does(typed):
    assert "multipath -ll shows it: 3600a098038314c57312b58387638574f" in said(parse(LUN % typed, "k.conf"))[0]


def test_a_wwid_counts_without_its_case_and_belongs_to_one_pool():
    typed = "3600A098038314C57312B58387638574F"
    assert parse(LUN % typed, "k.conf").config.pools["a"].wwid == typed.lower()
    loaded = parse(LUN % typed + LUN[8:].replace("[[a]]", "[[b]]") % typed.lower(), "k.conf")
    assert list(loaded.config.pools) == ["a"] and loaded.broken == ("b",)
    assert "has the same device as pool a; give each its own" in said(loaded)[0]


BLOCKS = """[clusters]
[[ocfs]]
[[[nodes]]]
a = 10.0.0.1
[[gfs]]
stack = dlm
[[[nodes]]]
a = 10.0.0.1
[pools]
[[p]]
protocol = iscsi
portals = 10.0.0.1
"""
WHOLE = "wwid = 3600a098038314c57312b58387638574f\n"


@pytest.mark.parametrize("lines", [
    WHOLE + "filesystem = xfs\n", WHOLE + "filesystem = ocfs2\ncluster = ocfs\n", WHOLE + "filesystem = gfs2\ncluster = gfs\n",
    WHOLE + "type = fs\nfilesystem = ext4\n", WHOLE + "type = logical\nvg = vg_kvm\n", WHOLE + "type = disk\n",
    WHOLE + "type = disk\npartition = 2\n",
    "type = mpath\n", "type = scsi\nadapter = scsi_host2\n", "type = iscsi\niqn = iqn.x:y\n", "type = iscsi-direct\niqn = iqn.x:y\n",
    WHOLE + "filesystem = xfs\ninterfaces = eth0, eth1\n", "device = /dev/sdb\ntype = disk\nfilesystem = none\n",
])
def test_sound_block_pools(lines):
    loaded = parse(BLOCKS + lines)
    assert list(loaded.config.pools) == ["p"] and loaded.problems == ()


@pytest.mark.parametrize("lines, key, reason", [
    ("filesystem = xfs\n", "", "names no device; give wwid =, namespace = or device ="),
    (WHOLE + "device = /dev/sdb\nfilesystem = xfs\n", "device", "and wwid both name the device; keep one"),
    (WHOLE, "filesystem", "is none, but a pool of type dir is a directory on a file system; name it, or choose another type"),
    (WHOLE + "type = fs\n", "filesystem", "is none, but a pool of type fs is a directory on a file system; name it, or choose another "
     "type"),
    (WHOLE + "type = disk\nfilesystem = xfs\n", "filesystem", "is xfs, but a pool of type disk has no file system of its own; leave it "
     "out"),
    (WHOLE + "type = logical\n", "type", "logical needs vg =, the volume group"),
    (WHOLE + "type = disk\nvg = x\n", "vg", "means nothing for type = disk"),
    (WHOLE + "filesystem = gfs2\n", "filesystem", "gfs2 is shared between hosts; name its cluster with cluster ="),
    (WHOLE + "filesystem = gfs2\ncluster = ocfs\n", "cluster", "ocfs has stack = o2cb, which gfs2 does not use"),
    (WHOLE + "filesystem = ocfs2\ncluster = gfs\n", "cluster", "gfs has stack = dlm, which ocfs2 does not use"),
    (WHOLE + "filesystem = xfs\ncluster = ocfs\n", "cluster", "means nothing for filesystem = xfs"),
    (WHOLE + "filesystem = ocfs2\ncluster = none\n", "cluster", "names 'none', but [clusters] has no sound subsection [[none]]"),
    ("type = iscsi\n", "iqn", "must name the one target of a pool of type iscsi, since libvirt logs in to it itself"),
    ("type = iscsi-direct\niqn = iqn.x:y, iqn.x:z\n", "iqn", "must name the one target of a pool of type iscsi-direct, since libvirt logs "
     "in to it itself"),
    ("type = iscsi\niqn = iqn.x:y\nchap-file = /etc/chap\n", "chap-file", "is not used for type = iscsi: libvirt logs in itself; choose "
     "another type"),
    ("type = iscsi\niqn = iqn.x:y\ninterfaces = eth0\n", "interfaces", "is not used for type = iscsi: libvirt logs in itself; choose "
     "another type"),
    ("type = scsi\n", "type", "scsi needs adapter =, the SCSI host as it stands in /sys/class/scsi_host (scsi_host2 for host2)"),
    (WHOLE + "type = disk\nadapter = scsi_host2\n", "adapter", "means nothing for type = disk"),
    (WHOLE + "type = logical\nvg = x\n[[[boot]]]\nmount = automount\n", "type", "logical is not mounted by systemd, so it knows no "
     "automount; use mount = boot or manual, or type = dir"),
])
def test_block_pools_that_make_no_sense(lines, key, reason):
    loaded = parse(BLOCKS + lines)
    assert (key, reason) in [(problem.key, problem.reason) for problem in loaded.problems if problem.fatal]
    assert loaded.broken == ("p",)


def test_several_portals_of_a_pool_that_uses_one_are_told_and_used():
    loaded = parse(BLOCKS.replace("10.0.0.1\n", "10.0.0.1, 10.0.0.2\n").replace("a = 10.0.0.1, 10.0.0.2", "a = 10.0.0.1")
                   + "type = iscsi\niqn = iqn.x:y\n")
    assert list(loaded.config.pools) == ["p"]
    assert [problem.key for problem in loaded.problems] == ["portals"] and not loaded.problems[0].fatal


def test_a_group_and_a_lock_exclude_each_other_and_the_pool_is_used_all_the_same():
    text = ("[pools]\n[[p]]\nprotocol = nfs\nserver = 10.0.0.1\nexport = /p\nsnapshot-scope = consistency-group\n"
            "[snapshots]\nlock-days = 7\n")
    loaded = parse(text)
    problem, = loaded.problems
    assert list(loaded.config.pools) == ["p"] and not problem.fatal and problem.key == "snapshot-scope"
    assert "excludes lock-days" in problem.reason and "set lock-days = 0, or snapshot-scope = volume" in problem.reason
    assert parse(text.replace("lock-days = 7", "lock-days = 0")).problems == ()
