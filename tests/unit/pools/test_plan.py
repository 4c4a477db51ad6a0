"""What is done to a pool, for every state that libvirt and the mount can be in."""

import itertools

import pytest

from kvmontap.model import Pool
from kvmontap.pools import xml
from kvmontap.pools.plan import ABSENT, AUTOSTART, BUILD, DEFINE, SILENT, START, STOP, Plan, State, plan
from kvmontap.reasons import REASONS, finding

POOL = Pool("p1", "nfs", "/mnt/p1", server=("10.0.0.1",), export="/p1")
NETFS = POOL._replace(type="netfs")
MISSING = (finding("mount.missing", target="/mnt/p1", unit="mnt-p1.mount"),)
NO_PATH = (finding("path.none", device="3600a", states="no path at all", unit="kvmontap-iscsi@p1.service"),)
SILENCE = (finding("mount.no-answer", target="/mnt/p1", seconds=5.0),)
FULL = (finding("space.full", target="/mnt/p1", free="0", size="1 GiB", wanted="5%"),)


def state(pool=POOL, active=False, autostart=True, persistent=True):
    return State(xml.wanted(pool), active, autostart, persistent)


def whats(made):
    return [remark.what for remark in made.remarks]


def test_the_codes_exist():
    assert set(ABSENT + SILENT) <= set(REASONS)


@pytest.mark.parametrize(
    "pool, have, findings, steps, told",
    [
        (POOL, None, (), (DEFINE, AUTOSTART, START), []),
        (POOL, None, FULL, (DEFINE, AUTOSTART, START), []),
        (POOL, None, MISSING, (DEFINE, AUTOSTART), ["waiting"]),
        (POOL, None, SILENCE, (DEFINE, AUTOSTART), ["waiting"]),
        (POOL._replace(autostart=False), None, (), (DEFINE,), []),
        (POOL, state(active=True), (), (), []),
        (POOL, state(), (), (START,), []),
        (POOL, state(), MISSING, (), ["waiting"]),
        (POOL, state(active=True), MISSING, (STOP,), ["waiting"]),
        (POOL, state(active=True), SILENCE, (), []),
        (POOL, state(autostart=False), (), (), ["flag-differs"]),
        (POOL, state(autostart=False, active=True), MISSING, (STOP,), ["flag-differs", "waiting"]),
        (POOL._replace(autostart=False), state(active=True), (), (), ["flag-differs"]),
        (POOL, state(POOL._replace(target="/srv")), (), (), ["differs"]),
        (POOL, state(persistent=False, active=True), (), (), ["differs"]),
        (POOL, State("<pool", True, True), (), (), ["differs"]),
        (NETFS, None, (), (DEFINE, BUILD, AUTOSTART, START), []),
        (NETFS._replace(autostart=False), None, (), (DEFINE, BUILD), []),
        (NETFS, state(NETFS), (), (START,), []),
        (NETFS, state(NETFS, active=True), (), (), []),
        (POOL._replace(type="logical"), None, (), (DEFINE, AUTOSTART, START), []),
        (POOL._replace(type="logical"), None, NO_PATH, (DEFINE, AUTOSTART), ["waiting"]),
        (POOL._replace(type="fs"), None, (), (DEFINE, BUILD, AUTOSTART, START), []),
        (POOL._replace(type="iscsi", portals=("10.0.0.1",), iqn=("iqn.x:y",)), None, NO_PATH, (DEFINE, AUTOSTART, START), []),
    ],
)
def test_plan(pool, have, findings, steps, told):
    made = plan(pool, have, findings)
    assert (made.steps, whats(made)) == (steps, told)


def test_no_state_leads_to_a_pool_without_its_storage_nor_to_a_changed_definition():
    forms = (POOL, POOL._replace(target="/srv"), NETFS)
    for form, active, autostart, persistent in itertools.product(forms, *[(True, False)] * 3):
        for findings in ((), MISSING, SILENCE, FULL):
            made = plan(POOL, state(form, active, autostart, persistent), findings)
            assert DEFINE not in made.steps and AUTOSTART not in made.steps
            if findings in (MISSING, SILENCE):
                assert START not in made.steps
            if STOP in made.steps:
                assert form == POOL and findings == MISSING
            if form != POOL:
                assert made == Plan((), made.remarks) and whats(made) == ["differs"]


def test_only_a_directory_is_ever_built():
    for kind, have in itertools.product(("dir", "logical", "disk", "scsi", "iscsi", "mpath"), (None, state())):
        pool = POOL._replace(type=kind, portals=("10.0.0.1",), iqn=("iqn.x:y",))
        assert BUILD not in plan(pool, have, ()).steps


def test_stopping_is_never_asked_of_a_pool_that_libvirt_mounts():
    for active, findings in itertools.product((True, False), ((), MISSING, SILENCE)):
        assert STOP not in plan(NETFS, state(NETFS, active), findings).steps


def test_every_remark_says_what_to_do_in_one_line():
    for have, findings in ((None, MISSING), (state(autostart=False), ()), (state(NETFS), ())):
        for remark in plan(POOL, have, findings).remarks:
            assert remark.fix and "\n" not in remark.text + remark.fix and not remark.text.endswith(".")
