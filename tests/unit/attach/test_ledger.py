"""What we brought up, who uses it, and that only that is ever taken down."""

import json
import multiprocessing

import pytest

from kvmontap.attach import ledger


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("KVMONTAP_ATTACHED", str(tmp_path / "attached"))
    return tmp_path / "attached"


def test_what_was_there_before_is_never_entered():
    with ledger.opened("iscsi") as book:
        book.use("t p1", "a", made=False)
    with ledger.opened("iscsi") as book:
        assert book.only("a") == [] and book.used_by("a") == []


def test_the_last_pool_takes_it_down():
    with ledger.opened("iscsi") as book:
        book.use("t p1", "a", made=True)
    with ledger.opened("iscsi") as book:
        book.use("t p1", "b", made=False)  # it finds the session of a
        assert book.only("a") == [] and book.only("b") == []
        book.release("a")
    with ledger.opened("iscsi") as book:
        assert book.used_by("a") == [] and book.only("b") == ["t p1"]
        book.release("b", ["t p1"])
        assert "t p1" not in book


def test_an_error_loses_nothing(place):
    with pytest.raises(RuntimeError), ledger.opened("nvme") as book:
        book.use("n p1", "a", made=True)
        raise RuntimeError
    with ledger.opened("nvme") as book:
        assert book.only("a") == ["n p1"]
    assert json.loads((place / "nvme.json").read_text()) == {"n p1": ["a"]}


def test_a_file_that_is_none_is_an_empty_ledger(place):
    place.mkdir()
    (place / "nvme.json").write_text("[1,")
    with ledger.opened("nvme") as book:
        assert book.entries == {}


def _enter(number):
    with ledger.opened("iscsi") as book:
        book.use(f"t p{number}", "a", made=True)


def test_many_at_once():
    with multiprocessing.get_context("fork").Pool(4) as workers:
        workers.map(_enter, range(40))
    with ledger.opened("iscsi") as book:
        assert len(book.only("a")) == 40
