"""The program that the template units run: one sentence, exit codes, and a failed start leaves nothing behind."""

import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CONF = """
[clusters]
[[c1]]
[[[nodes]]]
elsewhere = 10.0.0.1
[pools]
[[lun]]
protocol = iscsi
portals = 127.0.0.1:1
wwid = 3600a098038314c57312b58387638574f
filesystem = xfs
[[[boot]]]
timeout = 1
[[bad]]
protocol = iscsi
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "kvmontap.conf").write_text(CONF)

    def run(*arguments):
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "KVMONTAP_CONF": str(tmp_path / "kvmontap.conf"),
               "KVMONTAP_ATTACHED": str(tmp_path / "attached"), "KVMONTAP_APPLIED": str(tmp_path / "applied.conf")}
        return subprocess.run([sys.executable, "-m", "kvmontap.attach", *arguments], env=env, capture_output=True, text=True, check=False,
                              timeout=60)

    return run


def test_usage(run):
    for arguments in ((), ("start",), ("start", "smb", "x"), ("restart", "iscsi", "x"), ("start", "iscsi", "x", "y")):
        done = run(*arguments)
        assert done.returncode == 2 and done.stderr.startswith("usage: ")


@pytest.mark.parametrize("arguments, words", [
    (("start", "iscsi", "bad"), "pool bad: "),
    (("start", "nvme", "none"), "no such sound section in [pools]"),
    (("start", "o2cb", "none"), "no such sound section in [clusters]"),
    (("start", "o2cb", "c1"), "o2cb is not installed" if not os.path.exists("/usr/sbin/o2cb") else "is no node of cluster c1"),
    (("start", "iscsi", "lun"), "iscsiadm is not installed" if not os.path.exists("/usr/sbin/iscsiadm") else "no portal answers"),
])
def test_what_cannot_be_attached_is_one_sentence(arguments, words, run):
    done = run(*arguments)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("kvmontap: ") and words in line


def test_stop_needs_no_configuration_and_forgets_only_its_own(run, tmp_path):
    (tmp_path / "attached").mkdir()
    (tmp_path / "attached" / "iscsi.json").write_text('{"iqn.x 192.0.2.1:3260": ["gone", "lun"], "iqn.y 192.0.2.1:3260": ["gone"]}')
    (tmp_path / "kvmontap.conf").unlink()
    assert run("stop", "iscsi", "gone").returncode == 0
    assert json.loads((tmp_path / "attached" / "iscsi.json").read_text()) == {"iqn.x 192.0.2.1:3260": ["lun"]}
    for kind in ("nvme", "fc", "o2cb"):
        assert run("stop", kind, "gone").returncode == 0


def test_a_failed_start_is_nobodys_user_and_a_failed_reload_stays_one(run, tmp_path):
    (tmp_path / "attached").mkdir()
    book = tmp_path / "attached" / "iscsi.json"
    book.write_text('{"iqn.x 192.0.2.1:3260": ["lun", "other"]}')
    assert run("reload", "iscsi", "lun").returncode == 1
    assert json.loads(book.read_text()) == {"iqn.x 192.0.2.1:3260": ["lun", "other"]}
    assert run("start", "iscsi", "lun").returncode == 1
    assert json.loads(book.read_text()) == {"iqn.x 192.0.2.1:3260": ["other"]}
