"""Mount points that nothing can be written to, on the file systems of this machine."""

import os
import subprocess

import pytest

from kvmontap.mountpoint import guard, main, release, release_beneath, set_immutable

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set the immutable flag")


@pytest.fixture()
def target(tmp_path):
    """A directory on a tmpfs of its own, which knows the flag since Linux 6.6 (ext4 always)."""
    if not set_immutable_works(tmp_path):
        pytest.skip(f"the file system of {tmp_path} knows no immutable flag")
    yield str(tmp_path / "a" / "pool")
    release([str(tmp_path / "a" / "pool")])


def set_immutable_works(directory):
    probe = directory / "probe"
    probe.mkdir()
    try:
        return set_immutable(str(probe), True)
    finally:
        set_immutable(str(probe), False)


@root
def test_a_guarded_target_takes_no_file_and_a_released_one_is_gone(target):
    assert guard([target]) == () and guard([target]) == ()
    assert os.stat(target).st_mode & 0o777 == 0o755
    with pytest.raises(PermissionError):
        open(os.path.join(target, "volume"), "w", encoding="utf-8").close()
    assert release([target]) == () and release([target]) == ()
    assert not os.path.exists(target)


@root
def test_what_lies_in_it_is_kept(target):
    os.makedirs(target)
    with open(os.path.join(target, "old"), "w", encoding="utf-8") as stream:
        stream.write("text")
    assert guard([target]) == () and release([target]) == ()
    assert os.listdir(target) == ["old"]
    os.unlink(os.path.join(target, "old"))


@root
def test_what_is_mounted_is_left_alone(target):
    os.makedirs(target)
    subprocess.run(["mount", "-t", "tmpfs", "test", target], check=True)
    try:
        assert set_immutable(target, True) is False
        open(os.path.join(target, "volume"), "w", encoding="utf-8").close()
        assert release([target]) == () and os.listdir(target) == ["volume"]
    finally:
        subprocess.run(["umount", target], check=True)


@root
def test_it_can_be_mounted_on(target):
    guard([target])
    subprocess.run(["mount", "-t", "tmpfs", "test", target], check=True)
    subprocess.run(["umount", target], check=True)


@root
def test_beneath_what_is_mounted_the_directory_is_given_back_and_the_mount_stays(target):
    guard([target])
    subprocess.run(["mount", "-t", "tmpfs", "test", target], check=True)
    try:
        open(os.path.join(target, "volume"), "w", encoding="utf-8").close()
        assert release_beneath([target]) == ()
        assert os.path.ismount(target) and os.listdir(target) == ["volume"]
    finally:
        subprocess.run(["umount", target], check=True)
    open(os.path.join(target, "after"), "w", encoding="utf-8").close()  # PermissionError while it is immutable
    os.unlink(os.path.join(target, "after"))


@root
def test_the_package_goes_while_its_pools_are_mounted(target, tmp_path, monkeypatch, capsys):
    conf = tmp_path / "kvmontap.conf"
    conf.write_text(f"[pools]\n[[p]]\nprotocol = nfs\nserver = 192.0.2.1\nexport = /p\ntarget = {target}\n", encoding="utf-8")
    monkeypatch.setenv("KVMONTAP_CONF", str(conf))
    assert main(("guard",)) == 0
    subprocess.run(["mount", "-t", "tmpfs", "test", target], check=True)
    try:
        assert main(("release",)) == 0 and os.path.ismount(target)
    finally:
        subprocess.run(["umount", target], check=True)
    assert capsys.readouterr().err == ""
    os.rmdir(target)  # PermissionError while it is immutable


@root
def test_beneath_a_target_that_is_not_there_one_sentence_is_told(tmp_path):
    (sentence,) = release_beneath([str(tmp_path / "gone")])
    assert str(tmp_path / "gone") in sentence and "\n" not in sentence


def test_a_target_that_is_no_directory_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link", "file/below"):
        (sentence,) = guard([str(tmp_path / name)])
        assert sentence.startswith(str(tmp_path / name)) and "\n" not in sentence
    assert len(release([str(tmp_path / "file")])) == 1


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("guard", "more")])
def test_usage(arguments, capsys):
    assert main(arguments) == 2 and capsys.readouterr().err.startswith("usage:")
