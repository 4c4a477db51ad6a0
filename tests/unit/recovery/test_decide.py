"""What is brought back and what is left alone: every combination that systemd and libvirt can show."""

import itertools

import pytest

from kvmontap.model import DEGRADED, FAILED, OK, UNKNOWN, Boot, Finding, Gate, Pool, PoolHealth
from kvmontap.pools.libvirtd import Guest
from kvmontap.reasons import worst
from kvmontap.recovery import decide
from kvmontap.recovery.decide import NOTHING, RELOAD, START, Backoff, Step, Unit

NFS = Pool("p1", "nfs", "/mnt/p1", server=("192.0.2.1",), export="/p1")
BLOCK = Pool("p1", "iscsi", "/mnt/p1", portals=("192.0.2.1",), wwid="3600a098", filesystem="ocfs2", cluster="c1")
LVM = Pool("p1", "iscsi", type="logical", vg="vg0", portals=("192.0.2.1",), wwid="3600a098")
MOUNT, LOGIN, CLUSTER = "mnt-p1.mount", "kvmontap-iscsi@p1.service", "kvmontap-o2cb@c1.service"
MISSING = (Finding("mount.missing", FAILED, ""),)
FEWER, NONE = (Finding("path.missing", DEGRADED, ""),), (Finding("path.none", FAILED, ""),)
ACTIVE = Unit("active", True)
STATES = ("active", "inactive", "failed", "activating", "deactivating", "reloading")


def test_units():
    assert decide.units(NFS) == (MOUNT,)
    assert decide.units(BLOCK) == (MOUNT, LOGIN, CLUSTER)
    assert decide.units(BLOCK._replace(filesystem="xfs", cluster="")) == (MOUNT, LOGIN)
    assert decide.units(LVM) == (LOGIN,)
    assert decide.units(NFS._replace(type="netfs")) == ()
    for mode in ("automount", "manual"):
        assert decide.units(NFS._replace(boot=Boot(mount=mode))) == ()
    assert decide.units(NFS._replace(hosted_on="array1")) == ()


@pytest.mark.parametrize(("active", "ran", "known", "job"), itertools.product(STATES, (True, False), (True, False), (True, False)))
def test_a_mount_alone(active, ran, known, job):
    """It is started where it failed and nothing is about to become of it; never where somebody stopped it."""
    todo = decide.step(NFS, MISSING, (Unit(active, ran, known, job),))
    assert todo == (Step(START, MOUNT) if active == "failed" and known and not job else None)


@pytest.mark.parametrize(("mount", "ran", "login", "cluster"), itertools.product(STATES, (True, False), STATES, STATES))
def test_a_mount_on_a_login_and_a_cluster(mount, ran, login, cluster):
    todo = decide.step(BLOCK, MISSING, (Unit(mount, ran), Unit(login), Unit(cluster)))
    quiet = not {mount, login, cluster} & {"activating", "deactivating", "reloading"}
    never = mount == "inactive" and not ran and "failed" in (login, cluster)
    assert todo == (Step(START, MOUNT) if quiet and (mount == "failed" or never) else None)


@pytest.mark.parametrize(("findings", "login"), itertools.product((FEWER, NONE, MISSING, ()), STATES))
def test_portals_that_are_away_are_tried_again_while_it_is_mounted(findings, login):
    todo = decide.step(BLOCK, findings, (ACTIVE, Unit(login), ACTIVE))
    assert todo == (Step(RELOAD, LOGIN) if findings in (FEWER, NONE) and login == "active" else None)


def test_a_device_without_a_mount_of_ours():
    assert decide.step(LVM, NONE, (Unit("failed"),)) == Step(START, LOGIN)
    assert decide.step(LVM, FEWER, (ACTIVE,)) == Step(RELOAD, LOGIN)
    assert decide.step(LVM, NONE, (Unit("inactive", True),)) is None
    assert decide.step(LVM, NONE, (NOTHING,)) is None


def test_pauses_double_up_to_a_limit():
    backoff, now = Backoff(), 100.0
    pauses = []
    for _ in range(6):
        backoff = backoff.again(now, 10, 120)
        pauses.append(backoff.due - now)
    assert pauses == [10, 20, 40, 80, 120, 120] and backoff.tries == 6
    assert Backoff(10_000).again(now, 10, 120).due == now + 120


@pytest.mark.parametrize(("health", "mode", "unknown"), itertools.product((OK, DEGRADED, UNKNOWN, FAILED),
                                                                           ("enforce", "warn", "off"), ("allow", "refuse")))  # fmt: skip
def test_a_vm_is_tried_where_the_gate_would_let_it(health, mode, unknown):
    pool = NFS._replace(gate=Gate(mode=mode, array_unknown=unknown))
    seen = worst("p1", [Finding("x", health, "")])
    refused = mode == "enforce" and (health == FAILED or (health == UNKNOWN and unknown == "refuse"))
    assert decide.fit(seen, pool) == (not refused)
    # Whether an error of its disk is over is no matter of policy.
    assert decide.sound(seen) == (health != FAILED)


def test_a_pool_that_nobody_knows_decides_nothing():
    assert decide.fit(None, NFS) and decide.fit(PoolHealth("p1", FAILED), None) and decide.sound(None)


@pytest.mark.parametrize(("active", "autostart"), itertools.product((True, False), (True, False)))
def test_a_vm_is_wanted_while_it_is_off_and_autostarts(active, autostart):
    assert decide.still_wanted(Guest("g", "u", active, autostart)) == (autostart and not active)


def test_no_vm_is_wanted_that_is_gone():
    assert not decide.still_wanted(None)


@pytest.mark.parametrize(("error", "others", "last"), [
    ("kvmontap refuses to start VM g: pool p1: ... lock", 0, False),
    ("kvmontap refuses to start VM g: pool p1: ...", 99, False),
    ('Failed to get "write" lock Is another process using the image [/mnt/p1/g.img]?', 0, True),
    ("resource busy: Lockspace resource is locked", 0, True),
    ("Network not found: no network with matching name", 0, False),
    ("Network not found: no network with matching name", 1, False),
    ("Network not found: no network with matching name", 2, True),
])  # fmt: skip
def test_only_the_gates_own_refusal_is_tried_for_ever(error, others, last):
    assert decide.gives_up(error, others) == last


@pytest.mark.parametrize(("pool", "unlocked"), [
    (NFS, False), (BLOCK, True), (LVM, True), (BLOCK._replace(filesystem="gfs2"), False), (BLOCK._replace(filesystem="xfs"), False),
    (NFS._replace(type="netfs"), False), (BLOCK._replace(type="fs", filesystem="xfs"), False), (LVM._replace(type="iscsi-direct"), True),
    (None, False),
])  # fmt: skip
def test_where_no_lock_tells_of_another_host_a_vm_is_started_soon_or_not_at_all(pool, unlocked):
    assert not decide.too_late([NFS, pool], decide.UNLOCKED - 1)
    assert decide.too_late([NFS, pool], decide.UNLOCKED + 1) == unlocked
