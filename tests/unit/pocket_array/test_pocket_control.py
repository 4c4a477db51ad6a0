"""The control interface, and the array as a program of its own on a bare Python."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.pocket_array import PocketArray
from tests.pocket_array.authority import Pair
from tests.pocket_array.caller import DESCRIPTION, Caller
from tests.pocket_array.judge import Judge
from tests.pocket_array.remote import Remote, RemoteError
from tests.pocket_array.requestlog import from_row

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


@pytest.fixture
def controlled():
    with PocketArray(DESCRIPTION, control_port=0) as array:
        yield array


@pytest.fixture
def remote(controlled):
    return Remote(
        f"https://127.0.0.1:{controlled.control_listener.port}",
        controlled.control_token,
        controlled.ca,
    )


def test_health(controlled, remote):
    assert remote.health()["ok"] is True and remote.health()["port"] == controlled.port


def test_no_token_no_control(controlled):
    stranger = Remote(controlled.url, "guess", controlled.ca)
    for work in (stranger.health, stranger.state, stranger.clear_faults, stranger.requests):
        with pytest.raises(RemoteError, match="token"):
            work()


def test_the_main_port_has_it_too_and_it_is_not_logged(controlled):
    assert Remote(controlled.url, controlled.control_token, controlled.ca).health()["ok"]
    assert controlled.log.entries() == []


def test_requests(controlled, remote):
    volume = controlled.state.volume("kvmnfs01", "svm_kvm").uuid
    call = Caller(controlled)
    call("POST", f"/api/storage/volumes/{volume}/snapshots", {"name": "s"}, return_timeout="5")
    call("GET", "/api/cluster", fields="name")
    rows = remote.requests()
    assert [(row["method"], row["status"], row["user"]) for row in rows] == [
        ("POST", 201, "admin"),
        ("GET", 200, "admin"),
    ]
    assert rows[0]["body"] == {"name": "s"} and rows[1]["query"] == [["fields", "name"]]
    assert "answer" not in rows[0]
    assert [row["method"] for row in remote.requests(since=rows[0]["number"])] == ["GET"]
    remote.call("DELETE", "requests")
    assert remote.requests() == []


def test_the_judge_can_look_at_them_later(controlled, remote):
    judge = Judge.at_hand()
    if judge is None:
        pytest.skip("openapi-subset.json is not at hand (KVMONTAP_OPENAPI)")
    Caller(controlled)("GET", "/api/cluster", fields="name")
    Caller(controlled)("GET", "/api/cluster", fields="nmae,metric")
    for row in remote.requests(answers=True):
        judge(from_row(row))
    assert judge.seen == 2 and [each.where for each in judge.violations] == ["fields"]


def test_faults(controlled, remote):
    made = remote.add_fault("error", "GET", "/api/cluster", 1, status=500, code="1", message="no")
    assert made["id"] == 1 and made["count"] == 1
    assert Caller(controlled)("GET", "/api/cluster")[0] == 500
    assert remote.call("GET", "faults")["faults"][0]["hits"] == 1
    remote.clear_faults()
    assert remote.call("GET", "faults") == {"faults": []}
    with pytest.raises(RemoteError, match="there is no fault colour"):
        remote.add_fault("colour")


def test_state(controlled, remote):
    seen = remote.change(
        volumes={"kvmnfs02": {"state": "offline", "snapshot_limit": 2}},
        lifs={"lif1": {"state": "down"}},
    )
    assert (
        seen["volumes"]["kvmnfs02"]["state"] == "offline"
        and seen["lifs"]["lif1"]["state"] == "down"
    )
    assert remote.state()["volumes"]["kvmnfs02"]["snapshot_limit"] == 2
    remote.change(add={"volumes": [{"name": "new", "svm": "svm_kvm"}]})
    assert Caller(controlled)("GET", "/api/storage/volumes", name="new")[1]["num_records"] == 1
    for wrong in (
        {"volumes": {"none": {}}},
        {"volumes": {"kvmnfs02": {"colour": 1}}},
        {"colours": {}},
    ):
        with pytest.raises(RemoteError):
            remote.change(**wrong)


def test_the_listener_goes_and_comes(controlled, remote):
    for state, error in (("refused", ConnectionRefusedError), ("mute", TimeoutError)):
        remote.listener(state)
        with pytest.raises(error):
            Caller(controlled, seconds=0.5)("GET", "/api/cluster")
        assert remote.health()["ok"]
        remote.listener("listening")
        assert Caller(controlled)("GET", "/api/cluster")[0] == 200


def test_the_control_port_is_trusted_even_where_the_array_is_not():
    with PocketArray(DESCRIPTION, control_port=0, certificate="expired") as array:
        remote = Remote(
            f"https://127.0.0.1:{array.control_listener.port}", array.control_token, array.ca
        )
        assert remote.health()["ok"]
        with pytest.raises(ssl.SSLError):
            Caller(array)("GET", "/api/cluster")


def test_a_hook_is_run_when_a_volume_goes(tmp_path):
    told = tmp_path / "told"
    hook = [
        "/bin/sh",
        "-c",
        f'echo "$1 $2 $POCKET_VOLUME $POCKET_STATE $POCKET_JUNCTION" >> {told}',
        "hook",
    ]
    with PocketArray({"volumes": [{"name": "v", "path": "/j", "hook": hook}]}) as array:
        array.change(volumes={"v": {"state": "offline"}})
        array.change(volumes={"v": {"state": "online"}})
    assert told.read_text().splitlines() == ["v offline v offline /j", "v online v online /j"]


def test_a_hook_that_fails_fails_the_job():
    description = {
        "volumes": [{"name": "v", "hook": ["/bin/sh", "-c", "echo broken >&2; exit 3"]}],
        "users": DESCRIPTION["users"],
        "roles": DESCRIPTION["roles"],
    }
    description["users"] = [user for user in description["users"] if "svm" not in user]
    with PocketArray(description) as array:
        path = f"/api/storage/volumes/{array.volume('v').uuid}"
        status, body, _ = Caller(array)("PATCH", path, {"state": "offline"}, return_timeout="5")
        assert status == 500 and "broken" in body["error"]["message"]
        assert array.volume("v").state == "online"


def pythons():
    """This one, and what else of 3.11 to 3.13 there is and runs."""
    found = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13)]
    return [sys.executable] + [
        each
        for each in found
        if each and not subprocess.run([each, "-c", "import ssl"], capture_output=True).returncode
    ]


def wait_for_line(process):
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return json.loads(line)


@pytest.mark.parametrize("python", pythons())
def test_the_program_on_a_bare_python(tmp_path, python):
    """-I -S: no site-packages at all; what it needs is the standard library and openssl."""
    state = tmp_path / "state.json"
    state.write_text(
        json.dumps(
            {
                **DESCRIPTION,
                "users": [
                    {"name": "u", "password_file": str(tmp_path / "pw")},
                    {"name": "c", "certificate": True},
                ],
            }
        )
    )
    (tmp_path / "pw").write_text("hush-file\n")
    start = f"import sys, runpy; sys.path.insert(0, {ROOT!r}); runpy.run_module('tests.pocket_array', run_name='__main__')"
    process = subprocess.Popen(
        [
            python,
            "-I",
            "-S",
            "-c",
            start,
            "--state",
            str(state),
            "--directory",
            str(tmp_path / "tls"),
            "--client",
            "c",
            "--control-token-file",
            str(tmp_path / "token"),
            "--control-port",
            "0",
            "--ready",
            str(tmp_path / "ready"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ready = wait_for_line(process)
        assert json.loads((tmp_path / "ready").read_text()) == ready
        token = (tmp_path / "token").read_text().strip()
        remote = Remote(f"https://127.0.0.1:{ready['control_port']}", token, ready["ca"])
        assert remote.health()["port"] == ready["port"]
        assert oct((tmp_path / "token").stat().st_mode & 0o777) == "0o600"
        array = SimpleNamespace(port=ready["port"], ca=ready["ca"])
        assert Caller(array, "u", "hush-file")("GET", "/api/cluster")[0] == 200
        pair = Pair(str(tmp_path / "tls" / "client-c.pem"), str(tmp_path / "tls" / "client-c.key"))
        assert Caller(array)("GET", "/api/cluster", pair=pair)[0] == 200
        assert [row["user"] for row in remote.requests()] == ["u", "c"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "Expecting"),
        ('{"colour": 1}', "has no colour"),
        ('{"volumes": [{"name": "v", "svm": "x"}]}', "there is no SVM x"),
        ('{"users": [{"name": "u", "role": "x"}]}', "there is no role x"),
    ],
)
def test_a_wrong_description_is_told_in_one_line(tmp_path, text, says):
    state = tmp_path / "state.json"
    state.write_text(text)
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.pocket_array",
            "--state",
            str(state),
            "--directory",
            str(tmp_path / "tls"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 1 and says in ended.stderr and ended.stderr.count("\n") == 1
