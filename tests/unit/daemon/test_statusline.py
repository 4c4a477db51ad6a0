"""The unit's status line."""

from kvmontap.daemon.statusline import line
from kvmontap.gate.configured import Configured
from kvmontap.model import Config, Finding, Pool, PoolHealth, Problem


def health(name, code=""):
    if not code:
        return PoolHealth(name, "ok")
    found = Finding(code, {"mount.missing": "failed", "array.no-answer": "unknown"}.get(code, "degraded"), "")
    return PoolHealth(name, found.health, (found,))


def said(*healths, problems=(), broken=()):
    pools = {one.pool: Pool(one.pool, "nfs") for one in healths}
    return line(Configured(Config({}, pools, {}), broken, problems=problems), {one.pool: one for one in healths})


def test_status_lines():
    assert said() == "0 pools"
    assert said(health("a")) == "1 pool: 1 ok"
    assert said(health("a"), health("b", "space.low"), health("c", "mount.missing"), health("d", "array.no-answer")) == (
        "4 pools: 1 failed, 1 unknown, 1 degraded, 1 ok; c mount.missing, d array.no-answer, b space.low")
    many = [health(f"p{number}", "space.low") for number in range(5)]
    assert said(*many) == "5 pools: 5 degraded; p0 space.low, p1 space.low, p2 space.low, ..."


def test_before_the_first_look_and_with_problems():
    problem = Problem("/etc/kvmontap.conf", 3, "pools/x", "", "is wrong")
    assert line(Configured(Config({}, {"a": Pool("a", "nfs")}, {}), ("x",), problems=(problem,)), {}) == (
        "2 pools; 1 problem in /etc/kvmontap.conf (kvmontap check)")
