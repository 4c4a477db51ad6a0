"""kvmontap.array.state against the pocket array over HTTPS."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmontap import model
from kvmontap.array import Client, VolumeRef, look
from kvmontap.array.state import by_junction, judge_lifs, judge_volume, junctions, matching

from tests.unit.array.over_https import requests, secret, soon


def codes(seen):
    return [finding.code for finding in seen.findings]


def test_a_sound_volume_takes_three_requests_and_has_no_findings(client, pocket, pool):
    seen = look(client, pool, soon())
    volume = pocket.volume("kvmnfs01")
    assert seen.ref == VolumeRef(volume.uuid, "kvmnfs01", "svm_kvm", volume.svm.uuid)
    assert (seen.findings, seen.skipped) == ((), ())
    assert (seen.snapshots, seen.size) == (0, 100 * 2**30)
    assert requests(pocket) == [
        ("GET", "/api/storage/volumes"), ("GET", "/api/network/ip/interfaces"), ("GET", "/api/svm/svms")
    ]


@pytest.mark.parametrize("export, name", [
    ("/kvmnfs01", "kvmnfs01"), ("/kvmnfs01/sub/directory", "kvmnfs01"), ("/kvmnfs01/", "kvmnfs01"),
    ("/deep/er/kvmnfs02/x", "kvmnfs02"), ("/", "root"), ("/kvmnfs01/a,b|c*", "kvmnfs01"), ("/kvmnfs01/a..b", "kvmnfs01"),
    ("/kvmnfs01/mit Leerzeichen+ü", "kvmnfs01"),
])
def test_an_export_is_found_by_its_longest_junction_path(client, pool, export, name):
    seen = look(client, pool._replace(export=export), soon())
    assert seen.ref.name == name and not seen.findings


def test_a_share_is_found_by_its_path(client, pocket, pool):
    share = pool._replace(protocol="smb", export="", share="kvmsmb01")
    seen = look(client, share, soon())
    assert seen.ref.name == "kvmnfs01" and not seen.findings
    assert len(requests(pocket)) == 3


def test_a_share_is_found_whatever_the_case_of_its_name(client, pool):
    seen = look(client, pool._replace(protocol="smb", export="", share="KVMSMB01/sub"), soon())
    assert seen.ref.name == "kvmnfs01" and not seen.findings


def test_a_share_on_an_array_that_does_not_tell_its_volume(client, pocket, pool):
    pocket.change(add={"shares": [{"name": "bare", "svm": "svm_kvm", "path": "/deep/er/kvmnfs02/x", "extra": {"volume": None}}]})
    assert look(client, pool._replace(protocol="smb", export="", share="bare"), soon()).ref.name == "kvmnfs02"


def test_a_volume_is_found_by_name(client, pool):
    assert look(client, pool._replace(volume="kvmnfs02"), soon()).ref.name == "kvmnfs02"


@pytest.mark.parametrize("change, sentence", [
    ({"volume": "nothere"}, "array prod has no volume nothere"),
    ({"volume": "kvm*"}, "array prod has no volume kvm*"),
    ({"export": "/nothere"}, "array prod has no volume with junction path /nothere"),
    ({"protocol": "smb", "share": "nothere"}, "array prod has no volume with an SMB share nothere"),
    ({"protocol": "smb", "share": "*"}, "array prod has no volume with an SMB share *"),
])
def test_a_volume_that_is_not_there_is_said_so(client, pool, change, sentence):
    seen = look(client, pool._replace(**change), soon())
    assert seen.ref is None
    assert [(one.code, one.health, one.text) for one in seen.findings] == [("volume.unknown", "failed", sentence)]


def test_two_svms_with_the_same_volume_are_not_guessed_between(pocket, section, pool):
    client = Client(section._replace(svm=""))
    seen = look(client, pool._replace(export="/twice"), soon())
    client.close()
    assert seen.ref is None and codes(seen) == ["volume.ambiguous"]
    assert "2 volumes" in seen.findings[0].text and "svm=" in seen.findings[0].fix


def test_the_svm_of_the_section_decides_between_two(client, pool):
    assert look(client, pool._replace(export="/twice"), soon()).ref.svm == "svm_kvm"


@pytest.mark.parametrize("state", ["offline", "restricted", "error", "mixed"])
def test_a_volume_that_is_not_online_is_told_with_its_state(client, pocket, pool, state):
    pocket.change(volumes={"kvmnfs01": {"state": state}})
    seen = look(client, pool, soon())
    assert seen.findings[0].text == f"volume kvmnfs01 is {state} on array prod"
    assert seen.findings[0].health == model.FAILED
    assert seen.findings[0].fix == "volume online -vserver svm_kvm -volume kvmnfs01"


@pytest.mark.parametrize("seen_before", [True, False])
def test_an_offline_volume_is_found_though_ontap_took_its_junction_path(client, pocket, pool, seen_before):
    if seen_before:
        look(client, pool, soon())
    pocket.change(volumes={"kvmnfs01": {"state": "offline", "path": None}})
    seen = look(client, pool, soon())
    assert seen.ref.name == "kvmnfs01" and codes(seen) == ["volume.offline"]


def test_a_nested_volume_gone_offline_is_not_taken_for_the_one_around_it(client, pocket, pool):
    pocket.change(add={"volumes": [{"name": "inner", "svm": "svm_kvm", "path": "/kvmnfs01/inner"}]})
    inside = pool._replace(export="/kvmnfs01/inner")
    assert look(client, inside, soon()).ref.name == "inner"
    pocket.change(volumes={"inner": {"state": "offline", "path": None}})
    seen = look(client, inside, soon())
    assert seen.ref.name == "inner" and codes(seen) == ["volume.offline"]


def test_a_volume_unmounted_from_the_namespace_is_said_so(client, pocket, pool):
    look(client, pool, soon())
    pocket.change(volumes={"kvmnfs01": {"path": None}})
    seen = look(client, pool, soon())
    assert codes(seen) == ["volume.unmounted"]
    assert seen.findings[0].text == "volume kvmnfs01 is not mounted at /kvmnfs01 on array prod"


def test_a_full_volume(client, pocket, pool):
    pocket.change(volumes={"kvmnfs01": {"full": True}})
    assert codes(look(client, pool, soon())) == ["volume.full"]


def test_many_snapshots_are_told_before_the_limit(client, pocket, pool):
    pocket.change(volumes={"kvmnfs01": {"snapshots": [{"name": f"s{number}"} for number in range(800)]}})
    seen = look(client, pool, soon())
    assert [one.text for one in seen.findings] == ["volume kvmnfs01 holds 800 snapshots of 1023"]
    assert seen.snapshots == 800


@pytest.mark.parametrize("probability, expected", [
    ("none", []), ("low", []), ("moderate", ["ransomware.suspected"]), ("high", ["ransomware.suspected"]),
])
def test_ransomware(client, pocket, pool, probability, expected):
    pocket.change(volumes={"kvmnfs01": {"anti_ransomware": {"state": "enabled", "attack_probability": probability}}})
    assert codes(look(client, pool, soon())) == expected


def test_a_stopped_svm(client, pocket, pool):
    pocket.change(svms={"svm_kvm": {"state": "stopped"}})
    seen = look(client, pool, soon())
    assert [one.text for one in seen.findings] == ["SVM svm_kvm is stopped on array prod"]


def test_a_stopped_svm_behind_a_share(client, pocket, pool):
    pocket.change(svms={"svm_kvm": {"state": "stopped"}}, lifs={"lif_a": {"state": "down"}, "lif_b": {"state": "down"}})
    seen = look(client, pool._replace(protocol="smb", export="", share="kvmsmb01"), soon())
    assert sorted(codes(seen)) == ["lif.all-down", "svm.stopped"]


def test_one_lif_down_and_one_away_from_home(client, pocket, pool):
    pocket.change(lifs={"lif_a": {"state": "down"}, "lif_b": {"port": "e0b"}})
    seen = look(client, pool, soon())
    assert [(one.code, one.text, one.health) for one in seen.findings] == [
        ("lif.down", "LIF lif_a (192.0.2.11) is down on array prod", "degraded"),
        ("lif.not-home", "LIF lif_b (192.0.2.12) is not on its home port", "degraded"),
    ]


def test_all_lifs_down(client, pocket, pool):
    pocket.change(lifs={"lif_a": {"state": "down"}, "lif_b": {"enabled": False, "state": "down"}})
    seen = look(client, pool, soon())
    assert [(one.code, one.health) for one in seen.findings] == [("lif.all-down", "failed")]


def test_lifs_that_we_cannot_name_condemn_nothing(client, pocket, pool):
    """192.0.2.99 may lie behind an address translation."""
    pocket.change(lifs={"lif_a": {"state": "down"}})
    seen = look(client, pool._replace(server=("192.0.2.11", "192.0.2.99", "no-such-host.invalid")), soon())
    assert codes(seen) == ["lif.down"]
    assert len(seen.skipped) == 2 and "192.0.2.99" in "".join(seen.skipped) and "no-such-host.invalid" in "".join(seen.skipped)


def test_a_host_name_is_resolved_to_its_lif(client, pocket, pool):
    address = socket.gethostbyname("localhost")
    pocket.change(lifs={"lif_a": {"address": address, "state": "down"}})
    assert codes(look(client, pool._replace(server=("localhost", "192.0.2.12")), soon())) == ["lif.down"]


def test_a_role_without_rights_on_network_and_svm_is_lived_with(section, pocket, pool, tmp_path):
    client = Client(section._replace(username="limited", password_file=secret(tmp_path / "limited", "limited-1")))
    seen = look(client, pool, soon())
    client.close()
    assert seen.ref.name == "kvmnfs01" and seen.findings == ()
    assert [one.split(":")[0] for one in seen.skipped] == ["the LIFs of SVM svm_kvm", "the state of SVM svm_kvm"]


def test_a_role_without_any_right(section, pocket, pool, tmp_path):
    client = Client(section._replace(username="blind", password_file=secret(tmp_path / "blind", "blind-1")))
    seen = look(client, pool, soon())
    client.close()
    assert [(one.code, one.health, one.text) for one in seen.findings] == [
        ("array.rights", "unknown", "array prod does not let blind read volumes")
    ]


def test_an_ontap_that_knows_no_anti_ransomware_is_asked_without(client, pocket, pool):
    pocket.faults.add("error", path="/api/storage/volumes", count=1, code="262197",
                      message='The value "anti_ransomware.state" is invalid for field "fields"')
    assert look(client, pool, soon()).ref.name == "kvmnfs01"
    before = len(requests(pocket))
    assert look(client, pool, soon()).ref.name == "kvmnfs01"
    assert len(requests(pocket)) - before == 3


def test_an_unheard_of_state_is_a_sentence(client, pocket, pool):
    pocket.faults.add("unknown-enum", path="/api/storage/volumes", field="state", value="hovering")
    seen = look(client, pool, soon())
    assert codes(seen) == ["array.answer"] and "the state of volume kvmnfs01 is hovering" in seen.findings[0].text


def test_an_array_that_falls_silent_after_the_volume_leaves_what_is_known(client, pocket, pool):
    pocket.faults.add("silent", path="/api/network/ip/interfaces")
    seen = look(client, pool, soon(1.0))
    assert seen.ref.name == "kvmnfs01" and codes(seen) == ["array.no-answer"]


def test_a_pool_whose_volume_nothing_names_is_not_guessed_at(client, pocket):
    seen = look(client, model.Pool("kvmiscsi01", "iscsi", portals=("192.0.2.1",), ontap="prod"), soon())
    assert (seen.ref, seen.findings) == (None, ()) and "kvmiscsi01" in seen.skipped[0]
    assert requests(pocket) == []


# -- the pure parts

NAME = st.text(alphabet="abc _-ü*|,.", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))


@given(st.lists(NAME, max_size=5), st.integers(0, 5))
def test_the_longest_junction_wins(parts, depth):
    path = "/" + "/".join(parts)
    found = junctions(path)
    assert found[0] == "/" + "/".join(parts) and list(found) == sorted(found, key=len, reverse=True)
    records = [{"nas": {"path": one}, "name": one} for one in ("/", *found[depth:])]
    search = by_junction(path, {})
    if found[depth:]:
        assert [record["name"] for record in matching(records, search)] in ([found[depth]], ["/", "/"])
    elif parts:
        assert matching(records, search) == []  # never the SVM's root by default
    assert all(value for value in search.filters.values())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
                        st.sampled_from(["name", "uuid", "state", "svm", "space", "available", "nas", "path", "ip", "address",
                                         "enabled", "location", "is_home", "snapshot_count", "anti_ransomware"]), inner, max_size=4),
                    max_leaves=12))
def test_a_record_of_any_shape_is_judged_or_refused_by_name(record):
    from kvmontap.array.answers import AnswerError

    if not isinstance(record, dict):
        return
    for judge in (lambda: judge_volume(record, "prod", ("/a",)), lambda: judge_lifs([record], "p", "prod", "s", True)):
        try:
            assert isinstance(judge(), tuple)
        except AnswerError as error:
            assert str(error)
