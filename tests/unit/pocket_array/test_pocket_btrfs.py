"""The btrfs back end on a real btrfs in a loop-mounted file, where this machine lets us have one."""

import os
import shutil
import subprocess

import pytest

from tests.pocket_array.caller import Caller
from tests.pocket_array.judged import judged_array


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory):
    """A mounted btrfs with the subvolume vol."""
    if os.geteuid() or not shutil.which("mkfs.btrfs"):
        pytest.skip("root and mkfs.btrfs are needed for a btrfs of our own")
    base = tmp_path_factory.mktemp("btrfs")
    image, mounted = base / "image", base / "mnt"
    mounted.mkdir()
    with open(image, "wb") as file:
        file.truncate(256 * 2**20)
    for words in (
        ("mkfs.btrfs", "-q", str(image)),
        ("mount", "-o", "loop", str(image), str(mounted)),
    ):
        ended = run(*words)
        if ended.returncode:
            pytest.skip(f"no btrfs of our own here: {ended.stderr.strip()}")
    try:
        assert run("btrfs", "subvolume", "create", str(mounted / "vol")).returncode == 0
        yield mounted
    finally:
        assert run("umount", str(mounted)).returncode == 0


@pytest.fixture
def description(filesystem):
    backend = {
        "kind": "btrfs",
        "subvolume": str(filesystem / "vol"),
        "snapshots": str(filesystem / "snap"),
    }
    yield {
        "volumes": [{"name": "v", "backend": backend}],
        "users": [{"name": "admin", "password": "hush-admin"}],
    }
    for name in os.listdir(filesystem / "snap"):
        if (filesystem / "snap" / name).is_dir():
            run("btrfs", "subvolume", "delete", str(filesystem / "snap" / name))
    shutil.rmtree(filesystem / "snap")


def paths(array):
    return f"/api/storage/volumes/{array.volume('v').uuid}/snapshots"


def test_a_snapshot_keeps_what_was_there(filesystem, description):
    disk = filesystem / "vol" / "disk.img"
    disk.write_text("before")
    with judged_array(description) as array:
        call = Caller(array)
        assert (
            call("POST", paths(array), {"name": "s1", "comment": "c"}, return_timeout="30")[0]
            == 201
        )
        disk.write_text("after")
        kept = filesystem / "snap" / "s1" / "disk.img"
        assert kept.read_text() == "before"
        with pytest.raises(OSError, match="Read-only"):
            kept.write_text("no")
        one = call("GET", paths(array))[1]["records"][0]["uuid"]
        assert call("PATCH", f"{paths(array)}/{one}", {"name": "s2"}, return_timeout="30")[0] == 200
        assert (filesystem / "snap" / "s2" / "disk.img").read_text() == "before"
        assert call("DELETE", f"{paths(array)}/{one}", return_timeout="30")[0] == 200
        assert not (filesystem / "snap" / "s2").exists()


def test_a_restarted_array_knows_its_snapshots(filesystem, description):
    with judged_array(description) as array:
        Caller(array)("POST", paths(array), {"name": "s1", "comment": "c"}, return_timeout="30")
        before = Caller(array)("GET", paths(array), fields="comment,create_time")[1]
    assert (
        run(
            "btrfs",
            "subvolume",
            "snapshot",
            "-r",
            str(filesystem / "vol"),
            str(filesystem / "snap" / "by-hand"),
        ).returncode
        == 0
    )
    with judged_array(description) as array:
        call = Caller(array)
        assert (
            call("GET", paths(array), fields="comment,create_time", name="s1")[1]["records"]
            == before["records"]
        )
        assert call("GET", paths(array), name="by-hand")[1]["num_records"] == 1
        assert (
            call("POST", paths(array), {"name": "by-hand"}, return_timeout="30")[1]["error"]["code"]
            == "525059"
        )


def test_space_is_that_of_the_file_system(filesystem, description):
    with judged_array(description) as array:
        space = Caller(array)("GET", paths(array).rpartition("/")[0], fields="space")[1]["space"]
        found = os.statvfs(filesystem / "vol")
        assert space["size"] == found.f_blocks * found.f_frsize
        assert abs(space["available"] - found.f_bavail * found.f_frsize) < 2**24
        array.change(volumes={"v": {"full": True}})
        assert (
            Caller(array)("GET", paths(array).rpartition("/")[0], fields="space.available")[1][
                "space"
            ]["available"]
            == 0
        )


def test_what_btrfs_refuses_is_told(filesystem, description):
    with judged_array(description) as array:
        (filesystem / "snap" / "file").mkdir()
        (filesystem / "snap" / "file" / "vol").mkdir()
        status, body, _ = Caller(array)("POST", paths(array), {"name": "file"}, return_timeout="30")
        assert status == 500 and "btrfs subvolume snapshot" in body["error"]["message"]
        assert array.volume("v").snapshots == {}
        shutil.rmtree(filesystem / "snap" / "file")
