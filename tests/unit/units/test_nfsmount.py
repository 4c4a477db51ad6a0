"""mount.kvmontap-nfs against addresses on the loopback and a stand-in mount.nfs; the lab has the real ones."""

import os
import threading
import time

import pytest

from kvmontap import answering, nfsmount, trunk
from kvmontap.nfsmount import FAILED, OK, SYSTEM, USAGE, Tools, UsageError, main, parse
from tests.unit.units.nfsstand import Stand, free_port, leftovers, listening, mount_points, silent

A, B, C = "127.11.0.1", "127.11.0.2", "127.11.0.3"


@pytest.fixture
def stand(tmp_path):
    return Stand(tmp_path)


@pytest.fixture
def port():
    return free_port()


def mount(stand, port, hosts=(A, B), options="", wait=20, flags=()):
    """main() as mount(8) calls it; returns (exit code, seconds)."""
    spec = ",".join(f"[{host}]" if ":" in host else host for host in hosts) + ":/export"
    typed = f"rw,vers=4.1,port={port},kvmontap-wait={wait},_netdev" + (f",{options}" if options else "")
    tools = Tools((str(stand.program),), root=str(stand.root), run=str(stand.run))
    began = time.monotonic()
    return main(["mount.kvmontap-nfs", spec, stand.target, *flags, "-o", typed], tools), time.monotonic() - began


def test_the_first_of_the_list_is_preferred(stand, port):
    with listening(A, port), listening(B, port):
        code, seconds = mount(stand, port)
    assert (code, stand.sources()) == (OK, [f"{A}:/export"])
    assert seconds < 1


def test_own_options_stay_here(stand, port):
    with listening(A, port):
        mount(stand, port, options="noatime", flags=("-s", "-v"))
    assert stand.calls() == [f"{A}:/export {stand.target} -s -v -o rw,vers=4.1,port={port},_netdev,noatime,retry=0"]


def test_a_retry_of_the_users_stands(stand, port):
    with listening(A, port):
        mount(stand, port, options="retry=1")
    assert stand.calls()[0].endswith("retry=1")


@pytest.mark.parametrize("dead", [silent, None])
def test_a_dead_first_address_costs_a_second(dead, stand, port):
    with listening(B, port):
        if dead:
            with dead(A, port):
                code, seconds = mount(stand, port)
        else:
            code, seconds = mount(stand, port)
    assert (code, stand.sources()) == (OK, [f"{B}:/export"])
    assert seconds < nfsmount.GRACE + 1


def test_no_answer_is_one_sentence_in_time(stand, port, capfd):
    with silent(A, port):
        code, seconds = mount(stand, port, wait=4)
    said = capfd.readouterr().err
    assert code == FAILED and stand.calls() == []
    assert 4 <= seconds < 5.5
    assert said.count("\n") == 1
    assert f"{A}: no answer" in said and f"{B}: connection refused" in said and str(port) in said


def test_an_address_that_comes_later_is_taken(stand, port, monkeypatch):
    done, refused, ask = [], threading.Event(), answering.handshake

    def handshake(*arguments):
        try:
            return ask(*arguments)
        except OSError:
            refused.set()
            raise

    monkeypatch.setattr(answering, "handshake", handshake)
    waiting = threading.Thread(target=lambda: done.append(mount(stand, port)))
    waiting.start()
    assert refused.wait(20)
    with listening(B, port):
        waiting.join()
    assert done[0][0] == OK and stand.sources() == [f"{B}:/export"]


def test_ipv6(stand, port):
    with listening("::1", port):
        code, _ = mount(stand, port, hosts=("fd00:dead::1", "::1"))
    assert (code, stand.sources()) == (OK, ["[::1]:/export"])


def test_names_are_resolved(stand, port):
    with listening("127.0.0.1", port):
        code, _ = mount(stand, port, hosts=("does-not-exist.invalid", "localhost"))
    assert (code, stand.sources()) == (OK, ["localhost:/export"])


def test_an_address_that_does_not_mount_gives_way(stand, port, capfd):
    stand.answer(f"{A}:/export", 32, "access denied by server while mounting")
    with listening(A, port), listening(B, port):
        code, _ = mount(stand, port)
    assert (code, stand.sources()) == (OK, [f"{A}:/export", f"{B}:/export"])
    assert capfd.readouterr().err == ""


def test_the_reason_of_each_is_told(stand, port, capfd):
    stand.answer(f"{A}:/export", 32, "access denied by server while mounting A")
    stand.answer(f"{B}:/export", 32, f"No such file or directory for {B}:/export on {stand.target}")
    with listening(A, port), listening(B, port):
        code, seconds = mount(stand, port)
    assert code == FAILED and seconds < 2 and len(stand.calls()) == 2
    assert capfd.readouterr().err == (
        f"mount.kvmontap-nfs: cannot mount /export on {stand.target}: {A}: access denied by server while mounting A;"
        f" {B}: No such file or directory\n")


def test_exit_codes_are_passed_on(stand, port):
    stand.answer(f"{A}:/export", 16)
    with listening(A, port):
        assert mount(stand, port, hosts=(A,))[0] == 16


def test_what_may_pass_is_tried_again(stand, port):
    for call in (1, 2):
        stand.answer(f"{A}:/export", 32, "Connection refused", call=call)
    with listening(A, port):
        code, _ = mount(stand, port, hosts=(A,))
    assert code == OK and len(stand.calls()) == 3


def test_trying_again_ends_in_time(stand, port, capfd):
    stand.answer(f"{A}:/export", 32, "Connection timed out")
    with listening(A, port):
        code, seconds = mount(stand, port, hosts=(A,), wait=3)
    assert code == FAILED and seconds < 4
    assert f"{A}: Connection timed out" in capfd.readouterr().err


def test_tls_waits_for_tlshd(stand, port):
    stand.answer(f"{A}:/export", 32, "No such process", call=1)
    stand.answer(f"{A}:/export", 32, "access denied by server while mounting", call=2)
    with listening(A, port):
        code, _ = mount(stand, port, hosts=(A,), options="xprtsec=tls")
    assert code == OK and len(stand.calls()) == 3


def test_tls_without_tlshd_says_what_to_install(stand, port, capfd, monkeypatch):
    monkeypatch.setattr(nfsmount, "TLS_GRACE", 1.5)
    stand.answer(f"{A}:/export", 32, "No such process")
    with listening(A, port):
        code, seconds = mount(stand, port, hosts=(A,), options="xprtsec=mtls")
    assert code == FAILED and seconds < 5
    assert "ktls-utils" in capfd.readouterr().err


def test_a_mount_that_hangs_gives_way(stand, port):
    stand.answer(f"{A}:/export", seconds=60)
    with listening(A, port), listening(B, port):
        code, seconds = mount(stand, port, wait=4)
    assert (code, stand.sources()) == (OK, [f"{A}:/export", f"{B}:/export"])
    assert seconds < 4


def test_a_mount_that_hangs_alone_is_ended(stand, port, capfd):
    stand.answer(f"{A}:/export", seconds=60)
    with listening(A, port):
        code, seconds = mount(stand, port, hosts=(A,), wait=2)
    assert code == FAILED and seconds < 4
    assert "no answer within" in capfd.readouterr().err


def test_rdma_asks_no_port(stand, port):
    stand.answer(f"{A}:/export", 32, "No route to host")
    code, _ = mount(stand, port, hosts=(A, "::1"), options="proto=rdma")
    assert code == OK
    assert "proto=rdma," in stand.calls()[0] and "proto=rdma6," in stand.calls()[1]


def test_a_fake_mount_calls_nothing(stand, port):
    assert mount(stand, port, flags=("-f",))[0] == OK
    assert stand.calls() == []


def test_without_mount_nfs(stand, port, capfd):
    stand.program.unlink()
    assert mount(stand, port)[0] == FAILED
    assert "install nfs-common" in capfd.readouterr().err


def test_a_remount_of_nothing(stand, port, capfd):
    assert mount(stand, port, options="remount")[0] == FAILED
    assert "not mounted" in capfd.readouterr().err and stand.calls() == []


# --- session trunking


def trunked(stand, port, wait=20, hosts=(A, B, C)):
    return mount(stand, port, hosts, "trunkdiscovery,max_connect=16,kvmontap-trunking", wait)


@pytest.mark.skipif(os.geteuid() != 0, reason="a private mount namespace needs root")
class TestTrunking:
    def test_every_address_that_answers_gets_a_transport(self, stand, port, capfd):
        stand.joins(B, C)
        with listening(A, port), listening(B, port), listening(C, port):
            code, _ = trunked(stand, port)
        assert (code, stand.sources()) == (OK, [f"{host}:/export" for host in (A, B, C)])
        first, second, _ = stand.calls()
        assert "trunkdiscovery" in first and " -n " not in first
        assert "trunkdiscovery" not in second and "max_connect=16" in second and " -n " in second
        assert capfd.readouterr().err == "" and leftovers(stand.run) == []

    def test_what_the_kernel_did_itself_is_not_done_again(self, stand, port, capfd):
        own = stand.root / "sys/kernel/sunrpc/xprt-switches" / f"switch-{A}" / "xprt-9-tcp"
        own.mkdir(parents=True)
        (own / "dstaddr").write_text(B)
        with listening(A, port), listening(B, port):
            code, _ = trunked(stand, port, hosts=(A, B))
        assert (code, stand.sources(), capfd.readouterr().err) == (OK, [f"{A}:/export"], "")

    def test_one_that_is_silent_is_told_and_not_waited_for(self, stand, port, capfd):
        stand.joins(C)
        with listening(A, port), silent(B, port), listening(C, port):
            code, seconds = trunked(stand, port)
        assert (code, stand.sources()) == (OK, [f"{A}:/export", f"{C}:/export"])
        assert seconds < nfsmount.TRUNK_GRACE + 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1 and f"no transport to {B}" in said

    @pytest.mark.parametrize("dead", [A, C])
    def test_the_kernel_is_not_sent_to_an_address_that_is_silent(self, dead, stand, port):
        alive = [host for host in (A, B, C) if host != dead]
        stand.joins(*alive)
        with silent(dead, port), listening(alive[0], port), listening(alive[1], port):
            code, _ = trunked(stand, port)
        assert (code, stand.sources()) == (OK, [f"{host}:/export" for host in alive])
        assert not any("trunkdiscovery" in call for call in stand.calls())
        assert all("max_connect=16" in call for call in stand.calls())

    def test_a_session_of_its_own_is_told(self, stand, port, capfd):
        with listening(A, port), listening(B, port):
            code, _ = trunked(stand, port, hosts=(A, B))
        assert code == OK
        assert f"no transport to {B}: the server made it a session of its own" in capfd.readouterr().err

    def test_a_failure_is_told_and_the_mount_stays(self, stand, port, capfd):
        stand.answer(f"{B}:/export", 32, "access denied by server")
        with listening(A, port), listening(B, port):
            code, _ = trunked(stand, port, hosts=(A, B))
        assert code == OK and f"no transport to {B}: access denied by server" in capfd.readouterr().err
        assert leftovers(stand.run) == []

    def test_it_is_bounded(self, stand, port, capfd, monkeypatch):
        monkeypatch.setattr(trunk, "EACH", 1.0)
        monkeypatch.setattr(trunk, "BUDGET", 1.5)
        stand.answer(f"{B}:/export", seconds=60)
        stand.answer(f"{C}:/export", seconds=60)
        with listening(A, port), listening(B, port), listening(C, port):
            code, seconds = trunked(stand, port)
        assert code == OK and seconds < 4
        assert "no answer within" in capfd.readouterr().err

    def test_a_bug_in_it_does_not_take_the_mount_away(self, stand, port, capfd, monkeypatch):
        monkeypatch.setattr(trunk, "complete", lambda *_: 1 / 0)
        with listening(A, port), listening(B, port):
            assert trunked(stand, port, hosts=(A, B))[0] == OK
        assert "its trunking failed" in capfd.readouterr().err

    def test_the_second_mount_is_seen_by_nobody(self, tmp_path, port):
        stand = Stand(tmp_path / "stand", mounting=True)
        stand.joins(B)
        try:
            with listening(A, port), listening(B, port):
                assert trunked(stand, port, hosts=(A, B))[0] == OK
            assert [where for where in mount_points() if str(tmp_path) in where] == [stand.target]
        finally:
            os.system(f"umount {stand.target}")


# --- arguments


@pytest.mark.parametrize("spec, hosts, export", [
    ("10.0.0.1:/a", ("10.0.0.1",), "/a"),
    ("10.0.0.1,10.0.0.2,10.0.0.1:/a", ("10.0.0.1", "10.0.0.2"), "/a"),
    ("[fd00::1],h.example.com,[fe80::1%ens3]:/a,b:/c d", ("fd00::1", "h.example.com", "fe80::1%ens3"), "/a,b:/c d"),
    ("h:/", ("h",), "/"),
])
def test_sources(spec, hosts, export):
    request = parse([spec, "/mnt/a"])
    assert (request.hosts, request.export, request.directory) == (hosts, export, "/mnt/a")


@pytest.mark.parametrize("arguments", [
    [], ["h:/a"], ["h:/a", "/b", "/c"], ["h", "/mnt"], ["/a", "/mnt"], [":/a", "/mnt"], ["h,:/a", "/mnt"], ["fd00::1:/a", "/mnt"],
    ["h:a", "/mnt"], ["h:/a", "/mnt", "-o"], ["h:/a", "/mnt", "-N", "ns"], ["h:/a", "/mnt", "-o", "kvmontap-wait=x"],
    ["h:/a", "/mnt", "-o", "kvmontap-what=1"],
])
def test_what_mount_would_not_give(arguments, capfd):
    with pytest.raises(UsageError):
        parse(arguments)
    assert main(["mount.kvmontap-nfs", *arguments]) == USAGE
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said


def test_flags_may_stand_together():
    request = parse(["h:/a", "/mnt", "-sfnv", "-o", "ro,kvmontap-trunking", "-okvmontap-wait=7.5,x=1", "-t", "kvmontap-nfs.x"])
    assert request.flags == ("-s", "-n", "-v") and request.fake and request.trunking and request.wait == 7.5
    assert request.options == ("ro", "x=1")


def test_trouble_with_the_system_is_one_sentence(stand, port, capfd):
    stand.program.write_text("not a program")
    with listening(A, port):
        assert mount(stand, port, hosts=(A,))[0] == SYSTEM
    assert capfd.readouterr().err.count("\n") == 1
