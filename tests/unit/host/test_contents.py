"""What a device holds, read by the real wipefs and cmp from files that stand for devices."""

import os
import subprocess

import pytest

from kvmontap.host import contents

SIZE = 24 * 1024 * 1024


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "lun.img"
    with open(path, "wb") as stream:
        stream.truncate(SIZE)
    return str(path)


def look(path, size=SIZE):
    return contents.read(path, size, contents.within(30))


def write(path, offset, data):
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def test_a_new_lun_holds_nothing(image):
    assert look(image) == contents.Contents(SIZE)


@pytest.mark.parametrize("offset,ends", [(0, ("first MiB",)), ((1 << 20) - 1, ("first MiB",)), (1 << 20, ()), (SIZE - (1 << 20) - 1, ()),
                                         (SIZE - (1 << 20), ("last MiB",)), (SIZE - 1, ("last MiB",))])
def test_one_byte_at_either_end_is_seen(image, offset, ends):
    write(image, offset, b"x")
    assert look(image) == contents.Contents(SIZE, written=ends)


def test_a_device_smaller_than_one_mib(tmp_path):
    path = tmp_path / "small"
    path.write_bytes(bytes(4095) + b"x")
    assert look(str(path), 4096).written == ("first MiB", "last MiB")


def test_a_file_system_and_its_label(image):
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-L", "home", image], check=True)
    assert look(image).signatures == (contents.Signature("ext4", "home"),)


def test_a_partition_table(image):
    write(image, 446, bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little"))
    write(image, 510, b"\x55\xaa")
    assert [one.type for one in look(image).signatures] == ["dos"]


def test_reading_changes_nothing(image):
    write(image, SIZE - 1, b"x")
    with open(image, "rb") as stream:
        before = stream.read()
    look(image)
    with open(image, "rb") as stream:
        assert stream.read() == before


def test_what_cannot_be_known_is_trouble(image, tmp_path):
    assert "No such file" in look(str(tmp_path / "gone")).trouble
    assert look(image, 0).trouble == "its size is 0"
    assert contents.read(image, SIZE, contents.within(-1)).trouble.startswith("it does not answer")
    assert contents.device(image, contents.within(5)).trouble == "it is not a block device"
    gone = contents.device(str(tmp_path / "gone"), contents.within(5))
    assert gone.missing and gone.trouble == "there is no such device"


def test_wipefs_that_says_something_else(image, tmp_path, monkeypatch):
    strange = tmp_path / "wipefs"
    strange.write_text("#!/bin/sh\necho '{\"other\": 1}'\n")
    os.chmod(strange, 0o755)
    monkeypatch.setattr(contents, "WIPEFS", str(strange))
    assert "does not understand" in look(image).trouble
    monkeypatch.setattr(contents, "WIPEFS", str(tmp_path / "none"))
    assert "cannot be run: No such file" in look(image).trouble


def test_who_uses_a_device(tmp_path):
    where = tmp_path / "sys/dev/block/8:16"
    (where / "holders/dm-3").mkdir(parents=True)
    (where / "sdb1").mkdir()
    (where / "sdb1/partition").write_text("1\n")
    (where / "queue").mkdir()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("30 1 8:16 / /mnt/x rw - xfs /dev/sdb rw\n31 1 8:17 / /mnt/y rw - xfs /dev/sdb1 rw\n")
    assert contents.users("8:16", str(tmp_path)) == ("mounted on /mnt/x", "sdb1 is a partition of it", "dm-3 is built on it")
