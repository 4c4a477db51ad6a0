"""kvmontap.command: commands with a deadline.  What hangs in the kernel is in host/test_probe.py."""

import os
import random
import subprocess
import sys
import threading
import time

import pytest

from kvmontap import command

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SLEEP = ("/usr/bin/sleep", "1000")


def soon(seconds=20.0):
    return time.monotonic() + seconds


@pytest.fixture
def commands():
    made = []

    def make(**options):
        made.append(command.Commands(**options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    limit = soon()
    while any(one.in_flight() for one in made):
        assert time.monotonic() < limit
        time.sleep(0.01)


def shell(script):
    return ("/bin/sh", "-c", script)


def test_what_a_command_says_and_how_it_ends(commands):
    one = commands(fresh=0.0)
    answer = one.run("k", shell("echo out; echo err >&2; exit 3"), soon())
    assert answer[:4] == (command.ANSWERED, 3, "out\n", "err\n") and 0 < answer.seconds < 20
    assert one.run("k", shell("kill -9 $$"), soon()).status == -9
    assert one.run("k", ("/no/such/program",), soon())[:4] == (command.BROKEN, 0, "", "No such file or directory")
    assert one.run("k", ("/etc/passwd",), soon()).error == "Permission denied"


def test_nothing_of_this_process_reaches_the_command(commands, monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    said = commands().run("k", shell("env; cat; ls -l /proc/self/fd"), soon()).output
    assert "SECRET" not in said and "LC_ALL=C" in said
    assert "0 -> /dev/null" in said and "1 -> /memfd:kvmontap-output" in said and "2 -> /memfd:kvmontap-error" in said


def test_a_long_answer_needs_no_reader_and_an_endless_one_is_bounded(commands):
    one = commands()
    assert len(one.run("k", shell("head -c 3000000 /dev/zero | tr '\\0' x"), soon()).output) == 3_000_000
    endless = one.run("e", ("/usr/bin/yes",), soon(60))
    assert endless.state == command.ANSWERED and endless.status and len(endless.output) <= 16 * 1024 * 1024


def test_the_deadline_holds_and_another_question_waits_its_turn(commands):
    one = commands()
    started = time.monotonic()
    assert one.run("k", SLEEP, started + 0.2).state == command.HANGS
    assert one.run("k", shell("echo other"), time.monotonic() + 0.2).state == command.HANGS
    assert 0.35 < time.monotonic() - started < 5
    assert len(one.in_flight()) == 1
    assert one.run("another key", shell("echo free"), soon()).output == "free\n"


def test_what_is_given_up_is_killed_after_a_while_and_then_asked_anew(commands, tmp_path):
    one = commands(linger=0.1)
    argv = shell(f"echo x >> {tmp_path}/starts; test -e {tmp_path}/go || exec sleep 1000")
    assert one.run("k", argv, time.monotonic() + 0.3).state == command.HANGS
    (tmp_path / "go").touch()
    assert one.run("k", argv, soon()).state == command.ANSWERED
    assert (tmp_path / "starts").read_text() == "x\nx\n"


def test_close_kills_and_starts_no_more(commands):
    one = commands()
    assert one.run("k", SLEEP, time.monotonic() + 0.1).state == command.HANGS
    (pid,) = one.in_flight()
    one.close()
    limit = soon()
    while one.in_flight():
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pid}")
    assert one.run("k", shell("true"), soon()).state == command.BROKEN


def test_who_waits_for_a_question_that_is_taken_back_asks_anew(commands, tmp_path):
    one = commands()
    argv = shell(f"echo x >> {tmp_path}/starts; test -e {tmp_path}/go || exec sleep 1000; echo done")
    results = []
    threads = [threading.Thread(target=lambda: results.append(one.run("k", argv, soon()))) for _ in range(5)]
    for thread in threads:
        thread.start()
    hung = one.run("k", argv, time.monotonic() + 0.3)
    assert hung.state == command.HANGS
    (tmp_path / "go").touch()
    one.kill("k", hung._replace(since=hung.since - 1))  # another question than the one under way
    one.kill("unknown", hung)
    assert one.run("k", argv, time.monotonic() + 0.1).state == command.HANGS
    one.kill("k", hung)
    for thread in threads:
        thread.join()
    assert [answer.output for answer in results] == ["done\n"] * 5
    assert (tmp_path / "starts").read_text() == "x\nx\n"


def test_a_deadline_that_is_over_is_answered_at_once(commands):
    started = time.monotonic()
    assert commands().run("k", SLEEP, started - 5).state == command.HANGS
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("late", [0, 0.1])
def test_with_sigchld_ignored_it_still_answers(late):
    """systemd and libvirt start us with it at default; whoever else does may not.  `late`: seconds after which the process is watched,
    by which time the kernel has collected it."""
    script = (
        "import os, signal, time; signal.signal(signal.SIGCHLD, signal.SIG_IGN); from kvmontap import command\n"
        f"opened = os.pidfd_open; os.pidfd_open = lambda pid: time.sleep({late}) or opened(pid)\n"
        "print(command.Commands().run('k', ('/bin/echo', 'hello'), time.monotonic() + 20)[:3])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=TREE, capture_output=True, text=True, check=True)
    assert done.stdout == "('answered', 0, 'hello\\n')\n"


def test_many_threads_with_many_keys_and_deadlines_leave_nothing(commands):
    one = commands(fresh=0.01, linger=0.02)
    before = len(os.listdir("/proc/self/fd"))
    argvs = [shell("exit 7"), ("/bin/echo", "a"), ("/usr/bin/sleep", "0.05"), SLEEP]
    wrong = []

    def work(seed):
        choice = random.Random(seed)
        for _ in range(40):
            argv = choice.choice(argvs)
            begun, allowed = time.monotonic(), choice.choice([0.0, 0.01, 0.1])
            answer = one.run(choice.choice("abc"), argv, begun + allowed)
            if time.monotonic() - begun > allowed + 2:
                wrong.append("late")
            if answer.state == command.ANSWERED and (answer.status, answer.output) not in ((7, ""), (0, "a\n"), (0, "")):
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    limit = soon()
    while len(os.listdir("/proc/self/fd")) > before or one.in_flight():
        assert time.monotonic() < limit, os.listdir("/proc/self/fd")
        time.sleep(0.02)
    with pytest.raises(ChildProcessError):  # no child, no zombie
        os.waitpid(-1, os.WNOHANG)


# Between processes.

OTHER = (
    "import sys, time; from kvmontap import command\n"
    "one = command.Commands(locks=sys.argv[1])\n"
    "print(one.run('k', ('/usr/bin/sleep', '1000'), time.monotonic() + 0.1).state, *one.in_flight(), flush=True)\n"
    "sys.stdin.read(); one.close()"
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", OTHER, str(tmp_path / "locks")], cwd=TREE,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("hangs ")
    yield process
    process.communicate()


def test_a_key_that_another_process_asks_about_is_not_asked_twice(commands, tmp_path, holder):
    one = commands(locks=str(tmp_path / "locks"))
    started = time.monotonic()
    held = one.run("k", SLEEP, started + 0.2)
    assert held.state == command.HANGS and held.seconds > 0.1 and not one.in_flight()
    assert 0.15 < time.monotonic() - started < 3
    # Silent for longer than the patience: answered at once, with the age of the other's question.
    started = time.monotonic()
    assert one.run("k", SLEEP, soon(), patience=0.2).seconds >= 0.2
    assert time.monotonic() - started < 2
    assert one.run("another", shell("echo free"), soon()).output == "free\n"


def test_the_lock_is_free_when_the_other_command_is_gone(commands, tmp_path, holder):
    one = commands(locks=str(tmp_path / "locks"))
    assert one.run("k", shell("echo mine"), time.monotonic() + 0.1).state == command.HANGS
    holder.communicate()
    assert one.run("k", shell("echo mine"), soon()).output == "mine\n"
    assert one.run("k", shell("echo again"), soon()).output == "again\n"


def test_a_lock_directory_that_cannot_be_made_is_done_without(commands, tmp_path):
    (tmp_path / "file").touch()
    one = commands(locks=str(tmp_path / "file" / "locks"))
    assert one.run("k", shell("echo x"), soon()).output == "x\n"


def test_a_lock_file_with_nonsense_in_it_harms_nobody(commands, tmp_path, holder):
    (path,) = (tmp_path / "locks").iterdir()
    for nonsense in (b"", b"x" * 50, b"-1e999", b"nan", b"1e300"):
        path.write_bytes(nonsense)
        assert commands(locks=str(tmp_path / "locks")).run("k", SLEEP, time.monotonic() + 0.1).state == command.HANGS
