"""NVMe's keys: from root's files to libnvme's configuration, and nowhere else."""

import json
import os
import stat

import pytest

from kvmontap.attach import nvmekeys
from kvmontap.attach.call import AttachError
from kvmontap.attach.nvmekeys import Keys
from kvmontap.model import Pool

HOST, CTRL, PSK = "DHHC-1:00:aG9zdA==:", "DHHC-1:00:Y3RybA==:", "NVMeTLSkey-1:01:cHNr:"
POOL = Pool("n", "nvme-tcp", portals=("10.0.0.1",))


def secret(tmp_path, text, mode=0o600):
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_one_key_and_two_and_none(tmp_path):
    assert nvmekeys.read(POOL) == Keys()
    one = POOL._replace(dhchap_file=secret(tmp_path, f"key={HOST}\n"))
    assert nvmekeys.read(one) == Keys(HOST)
    secret(tmp_path, f"# ours\nkey={HOST}\nctrl-key={CTRL}\n")
    assert nvmekeys.read(one) == Keys(HOST, CTRL)


def test_a_key_of_tls(tmp_path):
    pool = POOL._replace(tls_key_file=secret(tmp_path, PSK + "\n"))
    assert nvmekeys.read(pool) == Keys(tls=PSK)
    secret(tmp_path, "something\n")
    with pytest.raises(AttachError, match="no pre-shared key of the form NVMeTLSkey-1"):
        nvmekeys.read(pool)


@pytest.mark.parametrize("text, words", [
    ("", "has no line key="),
    ("ctrl-key=" + CTRL, "has no line key="),
    ("key=hunter2", "has a key= that is not of the form DHHC-1"),
    (f"key={HOST}\nctrl-key=hunter2", "has a ctrl-key= that is not of the form"),
    (f"key={HOST}\nctrl-key={HOST}", "has the same key in both directions"),
    (f"key={HOST}\npassword=hunter2", "has password=, which means nothing there"),
])
def test_a_file_that_cannot_be_used_is_one_sentence_without_a_key(text, words, tmp_path):
    with pytest.raises(AttachError) as caught:
        nvmekeys.read(POOL._replace(dhchap_file=secret(tmp_path, text + "\n")))
    assert words in str(caught.value) and str(tmp_path) in str(caught.value)
    assert "hunter2" not in str(caught.value) and HOST not in str(caught.value)


def test_a_file_that_others_can_read_is_refused(tmp_path):
    with pytest.raises(AttachError, match="secret"):
        nvmekeys.read(POOL._replace(dhchap_file=secret(tmp_path, f"key={HOST}\n", 0o644)))


def test_what_libnvme_is_given(tmp_path, monkeypatch):
    (tmp_path / "hostnqn").write_text("nqn.x:host\n")
    monkeypatch.setattr(nvmekeys, "HOSTNQN", str(tmp_path / "hostnqn"))
    monkeypatch.setattr(nvmekeys, "HOSTID", str(tmp_path / "none"))
    made = nvmekeys.document(Keys(HOST, CTRL, PSK), "tcp", "fd00::1", "4420", "nqn.x:sub")
    port = {"transport": "tcp", "traddr": "fd00::1", "trsvcid": "4420", "dhchap_key": HOST, "dhchap_ctrl_key": CTRL,
            "tls": True, "tls_key": PSK}
    assert made == [{"hostnqn": "nqn.x:host", "dhchap_key": HOST, "subsystems": [{"nqn": "nqn.x:sub", "ports": [port]}]}]
    assert "dhchap_key" not in nvmekeys.document(Keys(tls=PSK), "tcp", "a", "1", "s")[0]


def test_the_file_is_roots_alone_and_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("KVMONTAP_ATTACHED", str(tmp_path / "attached"))
    with pytest.raises(KeyError):
        with nvmekeys.written([{"a": 1}]) as path:
            with open(path, encoding="utf-8") as stream:
                assert json.load(stream) == [{"a": 1}]
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            raise KeyError
    assert os.listdir(tmp_path / "attached") == []


def test_what_the_kernel_shows_of_the_keys_is_roots_alone(tmp_path):
    shown = tmp_path / "sys/class/nvme/nvme0"
    shown.mkdir(parents=True)
    for name in ("dhchap_secret", "dhchap_ctrl_secret", "state"):
        (shown / name).write_text("x\n")
        (shown / name).chmod(0o644)
    nvmekeys.hide("nvme0", str(tmp_path))
    nvmekeys.hide("nvme1", str(tmp_path))
    modes = [stat.S_IMODE((shown / name).stat().st_mode) for name in ("dhchap_secret", "dhchap_ctrl_secret", "state")]
    assert modes == [0o600, 0o600, 0o644]
