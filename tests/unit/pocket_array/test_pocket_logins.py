"""Logins, roles and certificates."""

import ssl

import pytest

from tests.pocket_array import PocketArray
from tests.pocket_array.authority import Authority, alternative_names
from tests.pocket_array.caller import DESCRIPTION, Caller


def test_password(array):
    assert Caller(array)("GET", "/api/cluster")[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!",
        "Basic YWRtaW46d3Jvbmc=",
        "Basic bm9ib2R5OnBvY2tldA==",
        "Bearer",
        "Bearer wrong",
        "Digest x",
    ],
)
def test_no_login(call, authorization):
    status, body, _ = call("GET", "/api/cluster", authorization=authorization)
    assert status == 401 and body["error"]["code"] == "6691623"


def test_token(call):
    assert call("GET", "/api/cluster", authorization="Bearer tok-123")[0] == 200


def test_certificate(array, call):
    assert call("GET", "/api/cluster", pair=array.authority.client("admin"))[0] == 200
    assert call("GET", "/api/cluster", pair=array.authority.client("reader"))[0] == 401
    assert array.log.entries()[0].user == "admin"


def test_a_certificate_of_another_authority(array, call, tmp_path):
    stranger = Authority(str(tmp_path / "other"), "other CA").client("admin")
    for _ in range(20):  # the alert always gets through, whatever the caller had sent by then
        with pytest.raises(ssl.SSLError, match="alert unknown ca"):
            call("GET", "/api/cluster", pair=stranger)


def test_an_expired_client_certificate(array, call):
    with pytest.raises(ssl.SSLError, match="alert certificate expired"):
        call("GET", "/api/cluster", pair=array.authority.client("admin", "late", expired=True))


@pytest.mark.parametrize(
    "kind, says",
    [
        ("wrong", "self-signed|unable to get local issuer"),
        ("expired", "expired"),
        ("other-name", "not valid for|match"),
    ],
)
def test_server_certificates_that_no_client_may_trust(kind, says):
    with PocketArray(DESCRIPTION, certificate=kind) as array:
        with pytest.raises(ssl.SSLCertVerificationError, match=says):
            Caller(array)("GET", "/api/cluster")
        assert array.log.entries() == []


def test_names_of_a_certificate():
    assert (
        alternative_names(["a.example.com", "10.0.0.1", "fd00::1"])
        == "DNS:a.example.com,IP:10.0.0.1,IP:fd00::1"
    )


def test_the_same_directory_is_the_same_authority(tmp_path):
    seen = []
    for kind in ("good", "good", "expired", "good"):
        with PocketArray(DESCRIPTION, directory=str(tmp_path), certificate=kind) as array:
            files = [array.ca, str(tmp_path / "server.pem")]
            seen.append([open_and_read(file) for file in files])
            if kind == "good":
                assert Caller(array)("GET", "/api/cluster")[0] == 200
    assert len({authority for authority, _ in seen}) == 1
    assert seen[0] == seen[1] != seen[2] != seen[3]


def open_and_read(path):
    with open(path, encoding="ascii") as text:
        return text.read()


def test_a_reader_does_not_write(array, volume):
    reader = Caller(array, "reader", "read")
    assert reader("GET", "/api/storage/volumes")[0] == 200
    status, body, _ = reader("POST", f"/api/storage/volumes/{volume}/snapshots", {"name": "s"})
    assert (status, body["error"]["code"]) == (403, "6")
    assert array.state.volumes[volume].snapshots == {}


def test_the_least_role_takes_snapshots_and_no_more(array, volume):
    least = Caller(array, "kvmontap", "least")
    path = f"/api/storage/volumes/{volume}"
    assert least("POST", path + "/snapshots", {"name": "s"}, return_timeout="5")[0] == 201
    one = least("GET", path + "/snapshots")[1]["records"][0]["uuid"]
    assert least("DELETE", f"{path}/snapshots/{one}", return_timeout="5")[0] == 200
    for method, place, body in (
        ("GET", "/api/cluster", None),
        ("GET", "/api/svm/svms", None),
        ("PATCH", path, {"state": "offline"}),
    ):
        status, said, _ = least(method, place, body)
        assert (status, said["error"]["code"]) == (403, "6")


def test_a_tenant_sees_its_own_svm(array, volume):
    tenant = Caller(array, "tenant", "one")
    assert {each["name"] for each in tenant("GET", "/api/svm/svms")[1]["records"]} == {"svm_kvm"}
    assert tenant("GET", "/api/storage/volumes")[1]["num_records"] == 2
    other = array.state.volume("kvmnfs01", "svm_other").uuid
    assert tenant("GET", f"/api/storage/volumes/{other}/snapshots")[0] == 404


def test_the_log_holds_no_credentials(array, call, volume):
    call("GET", "/api/cluster", authorization="Bearer tok-123")
    call(
        "POST",
        f"/api/storage/volumes/{volume}/snapshots?password=hush-1",
        {"name": "s", "password": "hush-2"},
    )
    call("GET", "/api/cluster", authorization="Basic aHVzaC0z")
    text = repr(array.log.rows(array.log.entries(), answers=True)) + repr(vars(array.logins))
    for secret in ("tok-123", "hush-1", "hush-2", "hush-admin", "aHVzaC0z", "hush-3"):
        assert secret not in text
    assert "***" in text
    if array.judge:
        array.judge.violations.clear()
