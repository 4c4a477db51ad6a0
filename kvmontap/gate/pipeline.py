"""The whole work for one event: XML, pools, health, verdict, snapshots.  kvmontapd and the hook without it both run it."""

import os
import time
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from kvmontap.domain import DomainError, chain, parse
from kvmontap.gate.configured import Configured
from kvmontap.gate.health import SLACK, Doctor, Health, Seen
from kvmontap.gate.memory import Arrivals, Refusals
from kvmontap.gate.parallel import gather
from kvmontap.gate.verdict import Event, judge, one_line, policy, refusing, snapshot_findings, told
from kvmontap.model import FAILED, Config, Domain, Finding, Pool, PoolHealth, Verdict
from kvmontap.reasons import finding, worst
from kvmontap.snapshots import Plan, plan

START = "start"
MIGRATE = "migrate"


class CallerGone(Exception):
    """Whoever asked has gone away: nothing more is to be done for them, a snapshot least of all."""


def nobody(_: float) -> None:
    """For a caller who needs no telling how long it takes."""


def ignored(*_: object) -> None:
    """For a process that does not live long enough to tidy up."""


class Pipeline(NamedTuple):
    """Handles events; thread-safe, one for the life of the process."""

    current: Callable[[], Configured]  # the configuration to judge by
    doctor: Doctor
    clients: object  # kvmontap.array.Clients
    snapshotter: object  # kvmontap.snapshots.Snapshotter
    arrivals: Arrivals
    taken: Callable = ignored  # (configuration, requests, outcomes) after snapshots were asked for; returns at once
    refusals: Optional[Refusals] = None  # of VMs that libvirt autostarts, None = nobody wants to know

    def handle(
        self, event: Event, xml: bytes, started: float, tell: Callable[[float], None] = nobody
    ) -> Verdict:
        """The verdict on `event`, with the snapshots taken that it asks for.

        started: time.monotonic() when the caller began to wait.  tell(seconds) is called before each phase with the
        longest that it takes; it raises CallerGone where nobody waits any more.
        """
        found = self.current()
        config = found.config
        if not config.pools and not found.broken:
            return Verdict(True, "", "", tuple(str(problem) for problem in found.problems))
        try:
            domain = parse(xml)
        except DomainError as error:
            return unreadable(event, xml, found, str(error))
        verdict = self._judged(event, domain, found, started, tell)
        if self.refusals is not None and event.op != MIGRATE:
            if verdict.allow:
                self.refusals.forget(domain.uuid)
            else:
                self.refusals.note(domain.uuid, domain.name, refusing(verdict, config))
        return verdict

    def _judged(
        self, event: Event, domain: Domain, found: Configured, started: float, tell: Callable[[float], None]
    ) -> Verdict:
        config = found.config
        seen = self.doctor.examine(domain, found, started, tell)
        if not seen.hits:
            return Verdict(True, "", "")
        verdict = judge(event, seen.hits, _judged(seen, {}), config)
        if not verdict.allow:
            return verdict
        if event.op == MIGRATE:
            reason = MIGRATE
        else:
            # libvirt runs `prepare` for an arriving VM too, whose `migrate` has had its snapshot.
            reason = "" if self.arrivals.claim(domain.uuid) else START
        verdict = self._with_snapshots(event, seen, config, reason, tell, verdict)
        if verdict.allow and event.op == MIGRATE:
            self.arrivals.note(domain.uuid)
        return verdict

    def _with_snapshots(
        self, event: Event, seen: Seen, config: Config, reason: str, tell: Callable[[float], None], verdict: Verdict
    ) -> Verdict:
        """Takes the snapshots that the pools ask for before an event of this reason, and judges again with what came of it."""
        pools = [config.pools[hit.pool] for hit in seen.hits if hit.pool in config.pools]
        wanted = self._plan(reason, seen, config, pools)
        if not wanted.requests and not wanted.findings:
            return verdict
        more = dict(wanted.findings)
        outcomes: Sequence = ()
        if wanted.requests:
            timeout = max(request.pool.snapshots.timeout for request in wanted.requests)
            tell(timeout + SLACK)
            deadline = time.monotonic() + timeout
            answer = gather({"": lambda: self.snapshotter.take(wanted.requests, deadline)}, deadline + SLACK).get("")
            if answer is not None and answer.error is None:
                outcomes = answer.value
                self.taken(config, wanted.requests, outcomes)
            else:
                said = f"nothing within {timeout:.1f} s" if answer is None else one_line(repr(answer.error))
                more.update((one.pool.name, _not_taken(one, said)) for one in wanted.requests)
        required = {pool.name: pool.snapshots.required for pool in pools}
        final = judge(event, seen.hits, _judged(seen, snapshot_findings(outcomes, required, more)), config)
        return final._replace(snapshots=tuple(_named(one) for one in outcomes if one.finding is None))

    def _plan(self, reason: str, seen: Seen, config: Config, pools: Sequence[Pool]) -> Plan:
        looks = {name: health.look for name, health in seen.healths.items() if health.look is not None}
        clients = {
            pool.ontap: self.clients.get(config.arrays[pool.ontap]) for pool in pools if pool.ontap in config.arrays
        }
        return plan(reason, seen.domain, os.uname().nodename, pools, looks, clients, self._images(seen))

    def _images(self, seen: Seen) -> Dict[str, Tuple[str, ...]]:
        """The paths of what the VM has in each pool, for the pools where all of it is known."""
        known = {}
        for hit in seen.hits:
            health = seen.healths.get(hit.pool, Health(()))
            paths = [self.doctor.place(one) if one.kind in ("file", "volume") else "" for one in hit.sources]
            beneath = health.checked or not any(chain.wanted(one) for one in hit.sources)
            if all(paths) and beneath and not any(one.code == "image.chain-unknown" for one in health.findings):
                known[hit.pool] = tuple(dict.fromkeys(paths))
        return known


def _judged(seen: Seen, more: Dict[str, Tuple[Finding, ...]]) -> Dict[str, PoolHealth]:
    return {name: worst(name, health.findings + more.get(name, ())) for name, health in seen.healths.items()}


def _named(outcome) -> str:
    earlier = " (taken earlier, for images that have not changed since)" if outcome.reused else ""
    return f"{outcome.volume}: {outcome.name}{earlier}"


def _not_taken(request, error: str) -> Finding:
    fix = "check the array's management LIF"
    return finding("snapshot.failed", volume=request.volume.name, error=error, fix=fix)


def unreadable(event: Event, xml: bytes, found: Configured, error: str) -> Verdict:
    """The verdict on a VM whose XML cannot be read.

    libvirt's own XML never looks like that.  If no name or place of a pool occurs in its bytes, the VM cannot touch one
    and passes; otherwise nobody can say that its storage is there, and it is refused as if it were not.
    """
    config = found.config
    because = finding("domain.unreadable", health=FAILED, domain=event.name, error=error)
    places = {name: (name, pool.target) for name, pool in config.pools.items()}
    places.update((name, (name,)) for name in found.broken)
    for name, words in places.items():
        mentioned = any(word and word.encode("utf-8", "surrogateescape") in xml for word in words)
        if mentioned and policy(config, name).mode == "enforce":
            text = one_line(f"kvmontap refuses VM {event.name}: {told(name, because)}")
            return Verdict(False, because.code, text, (), (PoolHealth(name, FAILED, (because,)),))
    warning = f"{because.text}; what to do: {because.fix} [{because.code}]"
    return Verdict(True, because.code, "", (one_line(warning),))
