"""The lab's own promises that need no VM."""

from __future__ import annotations

from pathlib import Path

from . import guest, image, runner


def test_nothing_is_missing_here() -> None:
    assert runner.missing_packages() == []


def test_the_guest_is_a_bootable_disk_of_one_mebibyte() -> None:
    disk = guest.disk()
    assert len(disk) == 1 << 20 and disk[510:512] == b"\x55\xaa"


def test_the_image_key_follows_the_glue(monkeypatch, tmp_path: Path) -> None:
    before = image.image_key()
    for name in ("image.py", "initrd-init.sh"):
        (tmp_path / name).write_bytes((image.HERE / name).read_bytes())
    (tmp_path / "glue").mkdir()
    monkeypatch.setattr(image, "HERE", tmp_path)
    assert image.image_key() != before
