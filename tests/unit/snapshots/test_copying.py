"""Copies of images: every byte, holes kept, size checked."""

import errno
import os

import pytest

from kvmontap.snapshots import copying

SIZE = 8 << 20


@pytest.fixture
def image(tmp_path):
    """Data at the start, in the middle and in the last bytes; holes between, and zeros that are written."""
    path = tmp_path / "a.img"
    with open(path, "wb") as stream:
        stream.truncate(SIZE + 123)
        for place, data in ((0, b"A" * 4096), (3 << 20, os.urandom(2 << 20)), (6 << 20, bytes(1 << 20)), (SIZE, b"z" * 123)):
            stream.seek(place)
            stream.write(data)
    return path


@pytest.mark.parametrize("cannot", [(), ("reflink",), ("reflink", "range"), ("reflink", "range", "holes")])
def test_every_byte_whatever_the_file_system_can(image, tmp_path, monkeypatch, cannot):
    def no(*_):
        raise OSError(errno.EINVAL, "no")

    if "reflink" in cannot:
        monkeypatch.setattr(copying.fcntl, "ioctl", no)
    if "range" in cannot:
        monkeypatch.setattr(os, "copy_file_range", no)
    if "holes" in cannot:
        monkeypatch.setattr(os, "lseek", no)
    told = []
    shared = copying.copy(str(image), str(tmp_path / "b.img"), lambda done, size: told.append((done, size)))
    assert (tmp_path / "b.img").read_bytes() == image.read_bytes()
    assert told[-1] == (SIZE + 123, SIZE + 123) and not (shared and cannot)
    if "range" in cannot:
        assert os.stat(tmp_path / "b.img").st_blocks * 512 < 4 << 20, "written zeros became holes"


def test_what_is_there_is_never_overwritten(image, tmp_path):
    (tmp_path / "b.img").write_text("mine")
    with pytest.raises(FileExistsError):
        copying.copy(str(image), str(tmp_path / "b.img"))
    assert (tmp_path / "b.img").read_text() == "mine"


def test_an_error_of_the_disk_is_no_reason_to_try_another_way(image, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(copying.fcntl, "ioctl", lambda *_: (_ for _ in ()).throw(OSError(errno.EOPNOTSUPP, "no")))
    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError) as caught:
        copying.copy(str(image), str(tmp_path / "b.img"))
    assert caught.value.errno == errno.ENOSPC
