"""Files that come back: killed at every step, the next run ends clean and no image is lost."""

import os
import subprocess
import time

import pytest

from kvmontap.snapshots import restoring
from kvmontap.snapshots.restoring import Move, RestoreError, Restoring, in_use, temporary
from kvmontap.snapshots.work import WorkError

UUID = "6f1a8a0e-4f7e-4b1e-9d5c-0123456789ab"
STEPS = ("open", "replace", "rename", "unlink", "fsync", "chmod")


class Vm:
    """Two images that say what they hold."""

    def __init__(self, tmp_path):
        self.state = str(tmp_path / "state")
        self.directory = tmp_path / "pool"
        self.directory.mkdir()
        self.images = [str(self.directory / name) for name in ("a.img", "b.img")]
        for path in self.images:
            self.put(path, "now")

    def put(self, path, text):
        with open(path, "w", encoding="ascii") as stream:
            stream.write(text)

    def bring(self, finals=None):
        moves = [Move(temporary(final, UUID, number), final) for number, final in enumerate(finals or self.images)]
        for move in moves:
            self.put(move.temporary, "then")
        return moves

    def contents(self):
        return {name: (self.directory / name).read_text() for name in sorted(os.listdir(self.directory))}

    def killed_at(self, step, work):
        """Runs work() in a process that dies, as by SIGKILL, before its so-manieth step; whether it died."""
        child = os.fork()
        if not child:
            count = [0]

            def watched(name):
                real = getattr(os, name)

                def call(*arguments, **more):
                    count[0] += 1
                    if count[0] == step:
                        os.kill(os.getpid(), 9)
                    return real(*arguments, **more)

                return call

            for name in STEPS:
                setattr(os, name, watched(name))
            try:
                work()
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or status == 0
        return status != 0


@pytest.fixture
def vm(tmp_path):
    return Vm(tmp_path)


def until_it_survives(vm, work, check):
    """Kills work() before its first, second, ... step; check(died) after each."""
    for step in range(1, 100):
        died = vm.killed_at(step, work)
        check(died)
        if not died:
            assert step > 5
            return
    raise AssertionError("it never came to its end")


def test_in_place(vm):
    with Restoring(UUID, vm.state) as it:
        it.replace("vm1", vm.bring())
        assert vm.contents() == {"a.img": "then", "b.img": "then"} and it.recover(vm.images, bool) == ()


def test_killed_anywhere_in_place(vm):
    def work():
        with Restoring(UUID, vm.state) as it:
            it.replace("vm1", moves)

    def check(died):
        with Restoring(UUID, vm.state) as it:
            it.recover(vm.images, lambda name: False)
            assert it.recover(vm.images, lambda name: False) == ()
        # All as before, or all as then: never one disk of each, never one that is gone, nothing left beside them.
        found = vm.contents()
        assert set(found) == {"a.img", "b.img"} and len(set(found.values())) == 1
        assert died or set(found.values()) == {"then"}
        assert os.listdir(vm.state) == []
        for path in vm.images:
            vm.put(path, "now")
        moves[:] = vm.bring()

    moves = vm.bring()
    until_it_survives(vm, work, check)


def test_killed_anywhere_beside(vm):
    finals = [str(vm.directory / name) for name in ("new-a.img", "new-b.img")]
    known = vm.directory.parent / "defined"

    def work():
        with Restoring(UUID, vm.state) as it:
            it.name("vm1", ["new"], moves, known.touch, lambda name: known.exists())

    def check(died):
        with Restoring(UUID, vm.state) as it:
            it.recover(vm.images, lambda name: name == "new" and known.exists())
        found = vm.contents()
        assert (found.pop("a.img"), found.pop("b.img")) == ("now", "now")
        if died and not known.exists():
            assert found == {}
        else:
            assert found == {"new-a.img": "then", "new-b.img": "then"}
        for path in [*finals, str(known)]:
            if os.path.exists(path):
                os.unlink(path)
        moves[:] = vm.bring(finals)

    moves = vm.bring(finals)
    until_it_survives(vm, work, check)


def test_a_vm_that_cannot_be_defined_leaves_nothing(vm):
    def define():
        raise RestoreError("libvirt did not define VM new")

    moves = vm.bring([str(vm.directory / "new.img")])
    with Restoring(UUID, vm.state) as it:
        with pytest.raises(RestoreError):
            it.name("vm1", ["new"], moves, define, lambda name: False)
        assert set(vm.contents()) == {"a.img", "b.img"} and it.recover(vm.images, bool) == ()


def test_a_vm_that_was_defined_though_the_answer_got_lost_keeps_its_files(vm):
    def define():
        raise RestoreError("the connection to libvirt is gone")

    def unknown(name):
        raise RestoreError("the connection to libvirt is gone")

    moves = vm.bring([str(vm.directory / "new.img")])
    with Restoring(UUID, vm.state) as it:
        with pytest.raises(RestoreError):
            it.name("vm1", ["new"], moves, define, unknown)
        assert it.recover(vm.images, lambda name: True) == () and vm.contents()["new.img"] == "then"
        assert it.recover(vm.images, lambda name: False) == ()


def test_a_name_that_is_taken_is_never_overwritten(vm):
    moves = vm.bring()
    with Restoring(UUID, vm.state) as it:
        with pytest.raises(RestoreError, match="a.img is there already"):
            it.name("vm1", ["new"], moves, lambda: None, lambda name: False)
        it.drop(moves)
    assert vm.contents() == {"a.img": "now", "b.img": "now"}


def test_another_vms_files_are_left_alone(vm):
    other = str(vm.directory / restoring.os.path.basename(temporary("/x/y", "7" * 36, 1)))
    vm.put(other, "theirs")
    with Restoring(UUID, vm.state) as it:
        assert it.recover(vm.images, bool) == () and os.path.exists(other)


def test_one_at_a_time(vm):
    with Restoring(UUID, vm.state):
        with pytest.raises(RestoreError, match="under way"):
            with Restoring(UUID, vm.state):
                pass


def test_a_journal_that_cannot_be_read_stops_everything(vm):
    with Restoring(UUID, vm.state) as it:
        vm.put(os.path.join(vm.state, UUID + ".json"), "{")
        with pytest.raises(WorkError, match="cannot be read"):
            it.recover(vm.images, bool)


@pytest.mark.parametrize("identity", ["", "../../etc/passwd", "vm1"])
def test_only_a_uuid_makes_a_file_name(tmp_path, identity):
    with pytest.raises(RestoreError):
        Restoring(identity, str(tmp_path))


def test_owner_and_mode_stay(vm):
    os.chmod(vm.images[0], 0o640)
    os.chown(vm.images[0], 12, 34)
    with Restoring(UUID, vm.state) as it:
        it.replace("vm1", vm.bring())
    found = os.stat(vm.images[0])
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o640, 12, 34)


def test_an_image_that_a_qemu_holds(vm):
    with open(vm.images[0], "wb") as stream:
        stream.truncate(1 << 20)
    assert not in_use(vm.images[0]) and not in_use("/nonexistent")
    command = ["qemu-io", "-f", "raw", "-c", "read 0 512", "-c", "sleep 20000", vm.images[0]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as qemu:
        until = time.monotonic() + 10
        while not in_use(vm.images[0]):
            assert time.monotonic() < until and qemu.poll() is None
            time.sleep(0.05)
        qemu.kill()
    assert not in_use(vm.images[0])




def test_a_pool_that_is_not_mounted_at_the_next_run_is_waited_for(vm):
    """After a power cut in the middle of the replacing the pool's directory is there, and empty."""
    moves = vm.bring()
    with Restoring(UUID, vm.state) as it:
        it._note("vm1", restoring.REPLACING, moves)
        value = it.read()
        assert value["mounts"] and all(os.path.ismount(where) for where in value["mounts"])
        it.write({**value, "mounts": [str(vm.directory)]})
        with pytest.raises(RestoreError, match="is not mounted; bring the pool up"):
            it.recover(vm.images, bool)
        it.write(value)
        assert it.recover(vm.images, bool) == ("finished the restore of VM vm1 that was interrupted",)
    assert vm.contents() == {"a.img": "then", "b.img": "then"}
