"""kvmontap.array.client: logins, trust, time, and every fault of the pocket array as one sentence."""

import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from kvmontap import model
from kvmontap.array import ArrayError, Client, Clients
from kvmontap.array.client import split_address
from kvmontap.array.errors import causes
from tests.pocket_array import PocketArray, routes
from tests.unit.array.over_https import DESCRIPTION, requests, secret, soon

SLACK = 0.5  # seconds that a machine under load may add to a bound


def ask(client, deadline=None):
    return client.records("Volume", ("name", "state"), deadline or soon(), **{"svm.name": "svm_kvm", "name": "kvmnfs01"})


def fails(client, deadline=None):
    """The ArrayError of a question; its sentence is fit for people."""
    with pytest.raises(ArrayError) as caught:
        ask(client, deadline)
    found = caught.value.finding
    for words in (found.text, found.fix):
        assert words and "\n" not in words and len(words) < 400 and "0x" not in words, words
        assert not any(name in words for name in ("Exception", "Error(", "urllib3", "Traceback", "HTTPSConnection")), words
    return caught.value


# -- logins


def test_a_password_login(client):
    assert [record["name"] for record in ask(client)] == ["kvmnfs01"]


def test_a_certificate_login(section, pocket):
    pair = pocket.authority.client("kvmontap")
    client = Client(section._replace(username="", password_file="", certificate=pair.certificate, key=pair.key))
    assert ask(client)
    client.close()


def test_a_token_login(section, tmp_path):
    token = secret(tmp_path / "token", "eyJh.eyJz.c2ln")
    client = Client(section._replace(username="", password_file="", token_file=token))
    assert ask(client)
    client.close()


def test_systemd_credentials(section, tmp_path, monkeypatch):
    os.chmod(tmp_path, 0o700)
    (tmp_path / "prod.password").write_text("pässword-1\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    client = Client(section._replace(password_file="prod.password"))
    assert ask(client)
    client.close()


def test_a_wrong_password_is_said_so_and_read_anew_next_time(section, client):
    secret(section.password_file, "not-it")
    error = fails(client)
    assert error.finding.code == "array.login" and error.ontap_code == "6691623"
    assert error.finding.text == f"array prod ({section.address}) refuses the login of kvmontap"
    secret(section.password_file, "pässword-1")
    assert ask(client)


def test_a_certificate_that_the_array_does_not_know(section, pocket):
    pair = pocket.authority.client("stranger")
    client = Client(section._replace(username="", password_file="", certificate=pair.certificate, key=pair.key))
    assert fails(client).finding.code == "array.login"
    client.close()


def test_a_certificate_of_another_authority(section, pocket, tmp_path):
    from tests.pocket_array.authority import Authority

    pair = Authority(str(tmp_path / "other"), "another CA").client("kvmontap")
    client = Client(section._replace(username="", password_file="", certificate=pair.certificate, key=pair.key))
    found = fails(client).finding  # the server's alert may be lost with the reset that follows it
    assert found.code == "array.login" or "(it may not take our certificate)" in found.text
    client.close()


def _openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def _protect(key):
    _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", key + ".new")
    os.chmod(key + ".new", 0o600)
    os.replace(key + ".new", key)


@pytest.mark.parametrize("spoil, words", [
    (lambda pair, path: os.chmod(pair.key, 0o640), "can be read by others"),
    (lambda pair, path: os.unlink(pair.key), "is not there"),
    (lambda pair, path: os.unlink(pair.certificate), "cannot be read"),
    (lambda pair, path: secret(pair.key, "no key"), "they are not PEM"),
    (lambda pair, path: _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", pair.key), "do not belong"),
    (lambda pair, path: _protect(pair.key), "passphrase"),
])
def test_a_certificate_login_that_cannot_be_made(section, pocket, tmp_path, spoil, words):
    pair = pocket.authority.client("kvmontap", file=f"spoilt-{tmp_path.name}")
    spoil(pair, tmp_path)
    client = Client(section._replace(username="", password_file="", certificate=pair.certificate, key=pair.key))
    error = fails(client)
    assert error.finding.code == "array.secret" and words in error.finding.text
    assert requests(pocket) == []


@pytest.mark.parametrize("content, mode, words", [
    ("pässword-1\n", 0o644, "can be read by others (mode 0644); run: chmod 600"),
    ("", 0o600, "is empty"),
    (None, 0, "is not there"),
])
def test_a_password_file_that_cannot_be_used(section, pocket, tmp_path, content, mode, words):
    path = tmp_path / "bad"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    client = Client(section._replace(password_file=str(path)))
    error = fails(client)
    assert error.finding.code == "array.secret" and words in error.finding.text and str(path) in error.finding.text
    assert requests(pocket) == []


@pytest.mark.parametrize("token", ["two words.x", "nodot", "caf\u00e9.x", "a.b\r\x0bX: y"])
def test_a_token_that_is_none_is_not_sent_and_not_shown(section, pocket, tmp_path, token):
    path = secret(tmp_path / "token", token)
    error = fails(Client(section._replace(username="", password_file="", token_file=path)))
    assert error.finding.code == "array.secret" and token not in error.finding.text
    assert requests(pocket) == []


def test_no_login_at_all(section):
    error = fails(Client(section._replace(username="", password_file="")))
    assert error.finding.code == "array.secret" and "set username=" in error.finding.text


def test_no_secret_is_shown_though_the_array_throws_it_back(section, client, pocket, caplog):
    caplog.set_level(logging.DEBUG)
    pocket.faults.add("error", code="262245", message="bad password pässword-1 given", status=400)
    error = fails(client)
    assert "pässword-1" not in f"{error} {error.finding} {error.message}" and "***" in error.message
    assert "pässword-1" not in caplog.text and not caplog.records


# -- trust


@pytest.mark.parametrize("certificate, words", [
    ("wrong", "unable to get local issuer certificate"), ("expired", "certificate has expired"), ("other-name", "IP address mismatch"),
])
def test_a_certificate_that_must_not_be_trusted(authority, section, certificate, words):
    with PocketArray(DESCRIPTION, directory=authority, certificate=certificate) as array:
        client = Client(section._replace(address=array.host))
        error = fails(client)
        assert error.finding.code == "array.certificate" and words in error.finding.text
        assert requests(array) == []


def test_without_ca_the_system_decides_and_no_variable_changes_that(section, pocket, monkeypatch):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, pocket.ca)
    assert fails(Client(section._replace(ca=""))).finding.code == "array.certificate"


def test_the_systems_trust_store_is_what_openssl_was_built_with(tmp_path, monkeypatch):
    from kvmontap.array.transport import tls_context

    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    context, paths = tls_context(""), ssl.get_default_verify_paths()
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert os.path.isdir(paths.openssl_capath) or os.path.isfile(paths.openssl_cafile)
    assert context.cert_store_stats()["x509_ca"] > 0 or os.path.isdir(paths.openssl_capath)


@pytest.mark.parametrize("content, words", [(None, "No such file"), ("no certificate", "holds no certificate")])
def test_a_ca_file_that_cannot_be_used(section, pocket, tmp_path, content, words):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    error = fails(Client(section._replace(ca=str(path))))
    assert error.finding.code == "array.secret" and words in error.finding.text and str(path) in error.finding.text


@pytest.mark.parametrize("login", ["password", "token"])
def test_the_environment_changes_nothing(section, monkeypatch, tmp_path, login):
    """Proxies, CA bundles, netrc, TLS key log: none of them counts."""
    netrc = secret(tmp_path / "netrc", "machine 127.0.0.1 login nobody password wrong")
    proxies = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    for name, value in {
        "SSLKEYLOGFILE": str(tmp_path / "keys"),
        "NETRC": netrc,
        **dict.fromkeys(bundles, "/nonexistent"),
        **dict.fromkeys(proxies, "http://127.0.0.1:1"),
    }.items():
        monkeypatch.setenv(name, value)
    if login == "token":
        section = section._replace(username="", password_file="", token_file=secret(tmp_path / "token", "eyJh.eyJz.c2ln"))
    client = Client(section)
    assert ask(client)
    client.close()
    assert not (tmp_path / "keys").exists()


def test_the_librarys_debugging_prints_nothing(section):
    """DEBUG and LOG_ALL_API_CALLS are read when netapp_ontap is imported."""
    program = (
        "import logging, sys, time; logging.basicConfig(level=logging.DEBUG)\n"
        "from kvmontap import model; from kvmontap.array import Client\n"
        f"client = Client({section!r}.__class__(*{tuple(section)!r}))\n"
        "print(client.records('Volume', ('name',), time.monotonic() + 10, name='kvmnfs01')[0]['name'])\n"
    ).replace(repr(section) + ".__class__", "model.Array")
    done = subprocess.run([sys.executable, "-W", "error::ResourceWarning", "-c", program + "client.close()"], capture_output=True,
                          text=True, check=False, env={**os.environ, "DEBUG": "1", "LOG_ALL_API_CALLS": "1"})  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "kvmnfs01\n", "")


def spoil_answers(monkeypatch, change):
    """Every answer of the pocket array goes through `change` first."""
    find = routes.find

    def spoilt(method, path):
        handler, keys = find(method, path)
        return (lambda call: change(handler(call))), keys

    monkeypatch.setattr(routes, "find", spoilt)


@pytest.fixture
def elsewhere():
    """A listener that must hear nothing; its port."""
    with socket.create_server(("127.0.0.1", 0)) as heard:
        yield heard.getsockname()[1]
        heard.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            heard.accept()


def test_a_next_link_to_elsewhere_does_not_take_the_login_there(section, authority, monkeypatch, elsewhere):
    """ "https://host:443" + "@elsewhere/" is a URL of elsewhere."""
    link = {"next": {"href": f"@127.0.0.1:{elsewhere}/api"}}
    spoil_answers(monkeypatch, lambda answer: answer._replace(body={**answer.body, "_links": link}))
    with PocketArray(DESCRIPTION, directory=authority) as array:
        error = fails(Client(section._replace(address=array.host)))
    assert error.finding.code == "array.answer" and "another address" in error.finding.text


@pytest.mark.parametrize("target", ["https://127.0.0.1:{}/api", "http://127.0.0.1:{}/", "/api/cluster"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(section, authority, monkeypatch, elsewhere, status, target):
    spoil_answers(monkeypatch, lambda answer: answer._replace(status=status, headers=(("Location", target.format(elsewhere)),)))
    with PocketArray(DESCRIPTION, directory=authority) as array:
        error = fails(Client(section._replace(address=array.host)))
        assert len(requests(array)) == 1
    assert error.finding.code == "array.answer" and "another address" in error.finding.text


# -- every fault of the pocket array


@pytest.mark.parametrize("fault, code, words", [
    (("status", {"status": 500, "text": "<html>"}), "array.error", "cannot read volumes: HTTP 500"),
    (("status", {"status": 503}), "array.error", "HTTP 503"),
    (("status", {"status": 302}), "array.answer", "JSON"),
    (("status", {"status": 401}), "array.login", "refuses the login of kvmontap"),
    (("status", {"status": 403}), "array.rights", "does not let kvmontap read volumes"),
    (("error", {"code": "4", "message": "entry doesn't exist", "status": 404}), "array.error", "entry doesn't exist (ONTAP 4)"),
    (("error", {"code": "8", "message": "one.\nline\ttwo.\x1b[1m", "status": 500}), "array.error", "one. line two. [1m (ONTAP 8)"),
    (("error", {"code": "6", "message": "not authorized for that command", "status": 401}), "array.rights", "does not let kvmontap"),
    (("approval", {}), "array.error", "requires approval"),
    (("not-json", {}), "array.answer", "it is not JSON"),
    (("not-json", {"text": "[]"}), "array.answer", "it is not what the API promises"),
    (("not-json", {"text": "null"}), "array.answer", "it is not what the API promises"),
    (("not-json", {"text": '{"records": {"a": 1}}'}), "array.answer", "a record is not an object"),
    (("not-json", {"text": '{"records": 5}'}), "array.answer", "it is not what the API promises"),
    (("not-json", {"text": '{"records": [5]}'}), "array.answer", "a record is not an object"),
    (("not-json", {"text": '{"_links": []}'}), "array.answer", "it is not what the API promises"),
    (("not-json", {"text": "[" * 100000}), "array.answer", "it is not"),
    (("not-json", {"text": "\xff\xfe"}), "array.answer", "it is not JSON"),
    (("cut", {}), "array.answer", "it ends in the middle"),
    (("cut-json", {}), "array.answer", "it is not JSON"),
    (("closed", {}), "array.no-answer", "it closed the connection"),
    (("reset", {}), "array.", "it "),  # half an answer, then RST: whichever of both is noticed
])
def test_a_fault_is_one_sentence(client, pocket, fault, code, words):
    kind, options = fault
    pocket.faults.add(kind, **options)
    error = fails(client)
    assert error.finding.code.startswith(code) and words in error.finding.text, error.finding
    pocket.faults.clear()
    assert ask(client)  # and nothing of it is left


@pytest.mark.parametrize("kind", ["unknown-enum", "no-links"])
def test_what_can_be_lived_with(client, pocket, kind):
    pocket.faults.add(kind)
    assert [record["name"] for record in ask(client)] == ["kvmnfs01"]


def test_an_answer_without_end(client, pocket):
    pocket.faults.add("not-json", text="x" * (33 << 20))
    error = fails(client)
    assert error.finding.code == "array.answer" and "larger" in error.finding.text


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_filter_is_never_sent(client, pocket, value):
    with pytest.raises(ValueError, match="nas.path is empty"):
        client.records("Volume", ("name",), soon(), **{"nas.path": value})
    assert requests(pocket) == []


def test_pages_are_followed(client):
    records = client.records("Volume", ("name",), soon(), most=3, **{"svm.name": "svm_kvm"})
    assert len(records) == 3


def test_the_address_of_the_array():
    assert split_address("cluster1.example.com") == ("cluster1.example.com", 443)
    assert split_address("cluster1:8443") == ("cluster1", 8443)
    assert split_address("[2001:db8::1]:8443") == ("2001:db8::1", 8443)
    assert split_address("[2001:db8::1]") == split_address("2001:db8::1") == ("2001:db8::1", 443)


def test_an_ipv6_address(section, authority):
    with PocketArray(DESCRIPTION, directory=authority, address="::1", names=("::1",)) as array:
        client = Client(section._replace(address=array.host))
        assert ask(client)
        client.close()


# -- time


def measured(client, deadline):
    began = time.monotonic()
    error = fails(client, deadline)
    return error, time.monotonic() - began


def test_refused(client, pocket):
    pocket.refuse()
    error, seconds = measured(client, soon())
    assert error.finding.text.endswith("does not answer: connection refused") and seconds < SLACK


@pytest.mark.parametrize("bound", ["deadline", "timeout"])
@pytest.mark.parametrize("trouble", ["mute", "silent", "slow"])
def test_silence_ends_at_the_callers_deadline_or_the_arrays_timeout(section, pocket, trouble, bound):
    client = Client(section._replace(timeout=10.0 if bound == "deadline" else 0.7))
    ask(client)
    if trouble == "mute":
        pocket.mute()
    else:
        pocket.faults.add(trouble, **({"seconds": 5} if trouble == "slow" else {}))
    error, seconds = measured(client, soon(0.7 if bound == "deadline" else 30))
    assert error.finding.code == "array.no-answer" and "nothing within 0.7 s" in error.finding.text
    assert 0.6 < seconds < 0.7 + SLACK
    client.close()


def test_a_deadline_that_has_passed_sends_nothing(client, pocket):
    error, seconds = measured(client, time.monotonic() - 1)
    assert error.finding.code == "array.no-answer" and seconds < SLACK and requests(pocket) == []


def test_an_address_that_drops_packets(section):
    """A listener whose queue is full lets SYNs fall, as a dead host does."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    stuffing = [socket.socket() for _ in range(4)]
    for one in stuffing:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    error, seconds = measured(Client(section._replace(address=f"127.0.0.1:{full.getsockname()[1]}")), soon(0.7))
    for one in (full, *stuffing):
        one.close()
    assert error.finding.code == "array.no-answer" and not error.maybe_done and 0.6 < seconds < 0.7 + SLACK


class Dripping(threading.Thread):
    """A TLS server that answers one byte each tenth of a second and never ends."""

    def __init__(self, certificate, key):
        super().__init__()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.over = threading.Event()

    def run(self):
        connection, _ = self.listening.accept()
        with self.context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            try:
                tls.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not self.over.wait(0.1):
                    tls.sendall(b"x")
            except OSError:
                pass
        self.listening.close()


def test_an_answer_that_drips_ends_at_the_deadline(section, pocket):
    """A socket's timeout alone would begin anew with each byte."""
    pair = pocket.authority.server(("127.0.0.1",), "dripping")
    server = Dripping(pair.certificate, pair.key)
    server.start()
    error, seconds = measured(Client(section._replace(address=f"127.0.0.1:{server.listening.getsockname()[1]}")), soon(1.0))
    server.over.set()
    server.join()
    assert error.finding.code == "array.no-answer" and "nothing within 1.0 s" in error.finding.text
    assert 0.9 < seconds < 1.0 + SLACK


def test_a_name_that_does_not_exist(section):
    error, _ = measured(Client(section._replace(address="no-such-array.invalid")), soon(5))
    assert error.finding.code == "array.no-answer" and "name" in error.finding.text


def test_a_name_server_that_does_not_answer(section, monkeypatch):
    """getaddrinfo has no time limit; here it waits for an event in place of a dead name server."""
    over, calls, really = threading.Event(), [], socket.getaddrinfo

    def hanging(host, *args, **kwargs):
        if host != "dead.example.com":
            return really(host, *args, **kwargs)
        calls.append(host)
        over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    client = Client(section._replace(address="dead.example.com"))
    threads = [threading.Thread(target=fails, args=(client, soon(0.5))) for _ in range(5)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    over.set()
    assert seconds < 0.5 + SLACK and len(calls) == 1  # one question for all who wait


# -- one connection, many threads


def connections(pocket):
    return len(pocket.listener._connections)


def test_one_connection_is_kept_and_closed(client, pocket):
    for _ in range(5):
        ask(client)
    assert connections(pocket) == 1
    client.close()
    deadline = soon()
    while connections(pocket) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert connections(pocket) == 0


def test_a_kept_connection_that_the_array_gave_up_is_not_noticed(client, pocket):
    ask(client)
    pocket.faults.add("closed", count=1)
    assert ask(client)


def test_an_array_that_comes_back_is_found_again(client, pocket):
    ask(client)
    pocket.refuse()
    assert fails(client).finding.code == "array.no-answer"
    pocket.listen()
    assert ask(client)


def test_twenty_threads_mix_nothing_up(client, pocket):
    wrong = []

    def work(name):
        for _ in range(10):
            got = client.records("Volume", ("name",), soon(30), **{"svm.name": "svm_kvm", "name": name})
            if [record["name"] for record in got] != [name]:
                wrong.append((name, got))

    threads = [threading.Thread(target=work, args=(("kvmnfs01", "kvmnfs02", "vault", "twice")[number % 4],)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(requests(pocket)) == 200 and connections(pocket) <= 4


def test_more_threads_than_connections_still_end_at_their_deadline(client, pocket):
    pocket.faults.add("silent")
    ended = []

    def work():
        began = time.monotonic()
        assert fails(client, soon(0.7)).finding.code == "array.no-answer"
        ended.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 12 and max(ended) < 0.7 + SLACK


def test_clients_are_made_anew_when_their_section_changes(section, pocket):
    clients = Clients()
    first = clients.get(section)
    ask(first)
    assert clients.get(section) is first
    second = clients.get(section._replace(timeout=5.0))
    assert second is not first and first._link is None
    clients.keep({"prod": second.array})
    assert clients.get(second.array) is second
    ask(second)
    clients.close()
    assert second._link is None


def test_causes_are_followed_without_going_round(monkeypatch):
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__context__ = second, first
    assert set(causes(first)) == {first, second}


def test_a_library_that_is_not_there_is_one_sentence(tmp_path):
    program = (
        "import sys, time; sys.modules['netapp_ontap'] = None\n"
        "from kvmontap import model; from kvmontap.array import Client, look\n"
        "pool = model.Pool('p', 'nfs', export='/p', ontap='prod')\n"
        "print(look(Client(model.Array('prod', 'localhost', username='u')), pool, time.monotonic() + 5).findings[0].text)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the client library netapp-ontap cannot be loaded: ") and done.stdout.count("\n") == 1


def test_importing_the_package_does_not_import_the_library():
    program = (
        "import sys, kvmontap.array, kvmontap.snapshots\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('netapp_ontap', 'requests')])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_array_is_a_model_of_the_configuration():
    assert Client(model.Array("prod", "a")).limit(soon(1)) <= soon(1)
