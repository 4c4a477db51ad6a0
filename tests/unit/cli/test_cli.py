"""The command line as a user runs it: exit codes, one sentence for each trouble, stable JSON, no traceback."""

import json
import os
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SOUND = "[pools]\n[[a]]\nprotocol = nfs\nserver = 127.0.0.1\nexport = /a\ntarget = /mnt/kvmontap-test-never-mounted\n"


def kvmontap(*arguments, **environment):
    done = subprocess.run([sys.executable, "-m", "kvmontap", *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, **environment})
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done


@pytest.fixture
def conf(tmp_path):
    def write(text):
        path = tmp_path / "k.conf"
        path.write_text(text)
        return str(path)

    return write


def test_check_of_a_sound_file(conf):
    done = kvmontap("check", "--config", conf(SOUND))
    assert (done.returncode, done.stderr) == (0, "") and "1 pool, 0 arrays, 0 clusters, no problem found" in done.stdout


def test_check_tells_everything_and_fails(conf):
    path = conf(SOUND + "nconect = 4\n[gat]\n")
    done = kvmontap("check", KVMONTAP_CONF=path)
    assert done.returncode == 1
    assert f"{path}:7: [pools/a] nconect: is no key of this section; did you mean nconnect?" in done.stderr
    assert f"{path}:8: [gat]: is no section of this file; did you mean gate?" in done.stderr
    problems = json.loads(kvmontap("check", "--json", "--config", path).stdout)
    assert [problem["line"] for problem in problems] == [7, 8]
    assert set(problems[0]) == {"file", "line", "section", "key", "reason", "fatal", "note"}


def test_a_note_is_told_and_does_not_fail(conf):
    other = SOUND.split("\n", 1)[1].replace("[[a]]", "[[b]]").replace("never", "b") + "nconnect = 4\n"
    done = kvmontap("check", "--config", conf(SOUND + other))
    assert done.returncode == 0 and "note: " in done.stdout and "the first mount decides" in done.stdout


def test_check_below_another_root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/kvmontap.conf").write_text("[pools]\n[[s]]\nprotocol = smb\nserver = a\nshare = s\ncredentials = /etc/smb\n")
    (tmp_path / "etc/smb").write_text("username=u\npassword=geheim\n")
    os.chmod(tmp_path / "etc/smb", 0o644)
    done = kvmontap("check", "--root", str(tmp_path), KVMONTAP_CONF="/etc/kvmontap.conf")
    assert done.returncode == 1 and "chmod 600" in done.stderr and "geheim" not in done.stderr
    assert "/etc/kvmontap.conf:6: [pools/s] credentials" in done.stderr


def test_status_of_a_pool_that_is_not_mounted(conf):
    path = conf(SOUND)
    done = kvmontap("status", "--config", path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].split() == ["POOL", "PROTOCOL", "TARGET", "HEALTH", "WHY"]
    assert "mount.missing" in done.stdout and "systemctl start" in done.stdout
    found, = json.loads(kvmontap("status", "--json", "--config", path).stdout)
    assert (found["pool"], found["health"], found["findings"][0]["code"]) == ("a", "failed", "mount.missing")
    assert set(found["findings"][0]) == {"code", "health", "text", "fix", "since"}


def test_status_looks_where_the_gate_is_off_and_at_broken_sections(conf):
    done = kvmontap("status", "--json", "--config", conf(SOUND + "[[b]]\nprotocol = nfs\n[gate]\nmode = off\n"))
    found = {pool["pool"]: pool["findings"][0]["code"] for pool in json.loads(done.stdout)}
    assert found == {"a": "mount.missing", "b": "pool.broken"}


def test_status_of_nothing(conf, tmp_path):
    assert kvmontap("status", "--config", conf("")).returncode == 0
    done = kvmontap("status", "--config", str(tmp_path / "none"))
    assert done.returncode == 1 and "is not there" in done.stderr
    done = kvmontap("status", "b", "--config", conf(SOUND))
    assert done.returncode == 2 and "has no pool b; there are: a" in done.stderr


def test_usage(conf):
    assert kvmontap().returncode == 2
    assert kvmontap("chek").returncode == 2
    assert kvmontap("--version").stdout.startswith("kvmontap 0")


def test_a_reader_that_goes_away(conf):
    done = subprocess.run(f"{sys.executable} -m kvmontap example-config | head -n 1", shell=True, cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.stderr == "" and done.stdout.startswith("# /etc/kvmontap.conf")


def test_pool_without_libvirt_is_one_sentence(conf):
    done = kvmontap("pool", "list", "--config", conf(SOUND), "--connect", "qemu+unix:///system?socket=/nonexistent/socket")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "libvirt does not answer at" in done.stderr
