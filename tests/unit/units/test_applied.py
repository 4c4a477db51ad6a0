"""The last good text: a typo at a daemon-reload never detaches storage."""

import os
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings, strategies as st

from kvmontap import applied
from kvmontap.config import parse
from kvmontap.model import Boot, Pool
from kvmontap.units import bundle

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
GOOD = """
[ontap]
[[prod]]
address = cluster1.example.com
username = kvmontap
password-file = prod
[snapshots]
required = yes
[pools]
[[one]]
protocol = nfs
server = 10.0.0.1, fd00::1
export = "/it's one"
trunking = yes
ontap = prod
options = noatime,rsize=65536
[[two]]
protocol = smb
server = files.example.com
share = two
credentials = /root/smbpass
ontap = prod
    [[[boot]]]
    mount = automount
    timeout = 2.5
    idle-timeout = 10min
[[three]]
protocol = nfs
server = 10.0.0.3
export = /three
ontap = prod
"""


@pytest.fixture
def host(tmp_path):
    """Run the real programs over one configuration and one record."""

    class Host:
        conf, record = tmp_path / "kvmontap.conf", tmp_path / "run" / "applied.conf"

        def run(self, module, *arguments):
            env = {"PATH": os.environ["PATH"], "KVMONTAP_CONF": str(self.conf), "KVMONTAP_APPLIED": str(self.record), "PYTHONPATH": ROOT}
            command = [sys.executable, "-m", module, *arguments]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

        def units(self, text):
            """Names and texts of the units after a daemon-reload with `text`."""
            if isinstance(text, str):
                self.conf.write_text(text)
            out = tmp_path / "out"
            out.mkdir()
            self.run("kvmontap.generator", str(out))
            found = {path.name: path.read_text() for path in out.iterdir() if path.is_file()}
            found.update({path.name: "" for path in out.glob("multi-user.target.wants/*")})
            subprocess.run(["rm", "-r", str(out)], check=True)
            return found

        def start(self):
            self.run("kvmontap.applied")

    return Host()


MOUNTS = {"mnt-one.mount", "mnt-two.mount", "mnt-two.automount", "mnt-three.mount"}


def error(name):
    return f"kvmontap-config-error@{name}.service"


def test_a_section_that_breaks_keeps_its_units(host):
    before = host.units(GOOD)
    assert set(before) == MOUNTS
    host.start()
    after = host.units(GOOD.replace("share = two", "shore = two").replace("rsize=65536", "rsize=1048576"))
    assert set(after) == MOUNTS | {error("two")}
    assert after["mnt-two.automount"] == before["mnt-two.automount"]
    assert after["mnt-two.mount"] == before["mnt-two.mount"]
    assert "rsize=1048576" in after["mnt-one.mount"]  # the sound ones are the new ones


def test_before_anything_was_applied_a_broken_section_has_no_units(host):
    assert set(host.units(GOOD.replace("share = two", "shore = two"))) == MOUNTS - {"mnt-two.mount", "mnt-two.automount"} | {error("two")}


def test_applying_while_a_section_is_broken_keeps_its_last_good_text(host):
    host.units(GOOD)
    host.start()
    broken = GOOD.replace("share = two", "shore = two")
    host.units(broken)
    host.start()
    assert MOUNTS < set(host.units(broken))


def test_what_was_taken_out_on_purpose_goes(host):
    host.units(GOOD)
    host.start()
    without = GOOD[: GOOD.index("[[three]]")]
    assert set(host.units(without)) == MOUNTS - {"mnt-three.mount"}
    assert set(host.units(without.replace("share = two", "shore = two"))) == MOUNTS - {"mnt-three.mount"} | {error("two")}


@pytest.mark.parametrize("spoil", [
    lambda text: text.encode() + b"\0", lambda text: b"\x7fELF\0\0", lambda text: b"x" * (9 << 20),
    lambda text: text.replace("[pools]", "[pools").encode(), lambda text: text.replace("[pools]", "[[pools]]").encode(),
    lambda text: text.replace("[pools]", "[pols]").encode(), lambda text: (text + "[pools]\n[[four]]\nprotocol = nfs\n").encode(),
])
def test_a_file_that_breaks_as_a_whole_keeps_everything(spoil, host):
    host.units(GOOD)
    host.start()
    host.conf.write_bytes(spoil(GOOD))
    assert MOUNTS <= set(host.units(None))


def test_a_file_that_is_gone_takes_everything_along(host):
    host.units(GOOD)
    host.start()
    host.conf.unlink()
    assert host.units(None) == {}


def test_a_new_pool_in_the_place_of_a_broken_one_wins(host):
    host.units(GOOD)
    host.start()
    text = GOOD.replace("export = /three", "exprt = /three") + "[[four]]\nprotocol = nfs\nserver = 10.0.0.4\nexport = /four\n" \
        "target = /mnt/three\nontap = prod\n"
    found = host.units(text)
    assert "What=10.0.0.4:/four" in found["mnt-three.mount"]
    assert error("three") in found


@pytest.mark.parametrize("record", [b"", b"\0", b"[pools]\n[[two]]\nprotocol = nfs\n", b"[[["])
def test_a_damaged_record_does_no_harm(record, host):
    host.units(GOOD)
    host.start()
    host.record.write_bytes(record)
    assert set(host.units(GOOD.replace("share = two", "shore = two"))) == MOUNTS - {"mnt-two.mount", "mnt-two.automount"} | {error("two")}


def test_the_record_is_roots_alone(host):
    host.units(GOOD)
    host.start()
    assert stat.S_IMODE(host.record.stat().st_mode) == 0o600
    assert [path.name for path in host.record.parent.iterdir()] == ["applied.conf"]


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run([sys.executable, "-m", "kvmontap.applied"], capture_output=True, text=True, check=False,
                          env={"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "KVMONTAP_CONF": str(tmp_path / "none"),
                               "KVMONTAP_APPLIED": str(tmp_path / "file" / "applied.conf")})
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "cannot be recorded" in done.stderr


PATHS = st.text(st.characters(whitelist_categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=15)


@settings(max_examples=200, deadline=None)
@given(export=PATHS, target=PATHS, options=st.sampled_from(["", "noatime", "noatime,soft", "context=a:b"]),
       boot=st.builds(Boot, st.sampled_from([1.0, 2.5, 90.0, 3600.0]), st.sampled_from(["boot", "automount", "manual"])))
def test_the_record_reads_back_as_the_same_units(export, target, options, boot):
    """Or, where a value cannot be written in that syntax, the pool is not recorded: never as another one."""
    pool = Pool("p", "nfs", target="/mnt/" + target, server=("10.0.0.1",), export="/" + export, options=options, boot=boot)
    back = parse(applied.text({"p": pool})).config.pools
    if back:
        one, other = (parse("").config._replace(pools={"p": each}) for each in (pool, back["p"]))
        assert bundle(one) == bundle(other)


BLOCK = """
[clusters]
[[c1]]
heartbeat-threshold = 61
[[[nodes]]]
kvm01 = 10.0.0.1
kvm02 = 10.0.0.2, 7778, 5
[[unused]]
[[[nodes]]]
kvm01 = 10.0.0.1
[pools]
[[lun]]
protocol = iscsi
portals = 10.0.1.1, [fd00::1]:3261
chap-file = /etc/kvmontap/chap
wwid = 3600a098038314c57312b58387638574f
partition = 1
filesystem = ocfs2
cluster = c1
[[space]]
protocol = nvme-tcp
portals = 10.0.1.1
namespace = 6c1e5a0e-0000-4000-8000-000000000000
filesystem = xfs
"""


def test_block_pools_are_carried_with_their_cluster(host):
    good = host.units(BLOCK)
    assert "mnt-lun.mount" in good and "mnt-space.mount" in good
    host.start()
    recorded = host.record.read_text()
    assert "unused" not in recorded and applied.clusters(str(host.record))["c1"].nodes[1] == ("kvm02", "10.0.0.2", 7778, 5)
    # A typo in the cluster takes the pool's section with it; a second start in that state forgets nothing.
    for _ in range(2):
        typos = BLOCK.replace("kvm01 = 10.0.0.1\nkvm02", "kvm01 = 10.0.0.300\nkvm02").replace("protocol = nvme-tcp", "protocol = nvme")
        assert {name: text for name, text in host.units(typos).items() if text} == good
        host.start()
    assert applied.clusters(str(host.record))["c1"].heartbeat_threshold == 61
