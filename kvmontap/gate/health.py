"""Asks how the pools of one VM are: each pool's mount and array at once, then the images behind its images.

An edge: the answers become findings here, what they mean for the VM is verdict.py's.
"""

import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from kvmontap.domain import chain
from kvmontap.gate.configured import Configured
from kvmontap.gate.fresh import Fresh
from kvmontap.gate.memory import FirstSeen
from kvmontap.gate.parallel import Answer, gather
from kvmontap.gate.standing import Standings
from kvmontap.gate.verdict import one_line
from kvmontap.model import DEGRADED, FAILED, Config, Domain, Finding, Pool, Source
from kvmontap.reasons import finding

SLACK = 0.2  # seconds that an answer may take from its thread to us after its own deadline
LOCAL = 1.0  # seconds for the images of a VM that may have nothing to do with us
ROUNDS = 4  # images in a pool that name images in a pool that ...


class Health(NamedTuple):
    """What the questions about one pool gave."""

    findings: Tuple[Finding, ...]
    look: Optional[object] = None  # kvmontap.array.VolumeLook, where the array was asked and answered in time
    checked: bool = False  # whether the mount was asked


class Seen(NamedTuple):
    """What is known about a VM's storage."""

    domain: Domain  # with the sources that its images name
    hits: Tuple = ()
    healths: Dict[str, Health] = {}


class Doctor(NamedTuple):
    """The parts that ask."""

    hits: Callable[[Domain, Configured], Tuple]  # kvmontap.host.match.match, without pools that the VM itself hosts
    check: Callable[[Pool, float], Tuple[Finding, ...]]  # kvmontap.host.probe.Prober.check
    look: Callable  # (array, pool, deadline) -> kvmontap.array.VolumeLook
    behind: Callable  # kvmontap.gate.images.Images.behind
    place: Callable[[Source], str]  # the path of a source, "" where it has none
    on_this_host: Callable[[str], bool]  # whether opening a path waits for no server
    first_seen: FirstSeen
    fresh: Optional[Fresh] = None  # what `look` remembers, None = nothing
    standing: Optional[Standings] = None  # the arrays' slow answers, None where nobody asks for them

    def examine(self, domain: Domain, found: Configured, started: float, tell: Callable[[float], None]) -> Seen:
        """The pools that `domain` touches and how they are; waits for each no longer than its own [gate] timeout."""
        config = found.config
        hits = self.hits(domain, found)
        seen = Seen(domain, hits, {})
        looked_into: Set[Source] = set()
        for _ in range(ROUNDS):
            new = [hit.pool for hit in seen.hits if hit.pool not in seen.healths]
            if new:
                left = started + max(_timeout(config, name) for name in new) - time.monotonic()
                tell(max(0.0, left) + SLACK)
                seen.healths.update(self.ask(new, found, started))
            further = self._images(seen, found, started, looked_into)
            if not further:
                break
            domain = seen.domain._replace(sources=seen.domain.sources + further)
            seen = Seen(domain, self.hits(domain, found), seen.healths)
        return seen

    def ask(self, names: Sequence[str], found: Configured, started: float) -> Dict[str, Health]:
        """Each pool's mount and array, all at once."""
        questions: Dict = {}
        for name in names:
            pool = found.config.pools.get(name)
            if pool is None:
                continue
            deadline = started + pool.gate.timeout
            if pool.gate.mode != "off":
                questions[name, "mount"] = lambda pool=pool, deadline=deadline: self.check(pool, deadline)
            array = found.config.arrays.get(pool.ontap)
            if array is not None:
                questions[name, "array"] = lambda array=array, pool=pool, deadline=deadline: self.look(
                    array, pool, deadline
                )
        until = started + max(_timeout(found.config, name) for name in names)
        answers = gather(questions, until + SLACK)
        answers.update(self._asked_anew(names, found, answers, until))
        return {name: self._health(name, found, questions, answers) for name in names}

    def _asked_anew(self, names: Sequence[str], found: Configured, answers: Dict, until: float) -> Dict:
        """The array once more for pools whose mount is not as it should be: what is wrong there explains it, and nothing old refuses."""
        failed = [
            name for name in names
            if (name, "mount") in answers and (name, "array") in answers and answers[name, "mount"].error is None
            and any(one.health == FAILED for one in answers[name, "mount"].value)
        ]  # fmt: skip
        if self.fresh is None or not failed or until - time.monotonic() < LOCAL:
            return {}
        pools = {name: found.config.pools[name] for name in failed}
        return gather({
            (name, "array"): lambda pool=pool: self.fresh.now(found.config.arrays[pool.ontap], pool, until) for name, pool in pools.items()
        }, until + SLACK)  # fmt: skip

    def _health(self, name: str, found: Configured, questions: Dict, answers: Dict) -> Health:
        """One pool's findings, out of the answers that came in time."""
        config = found.config
        pool = config.pools.get(name)
        if pool is None:
            return Health((finding("pool.broken", pool=name, file=config.path),))
        said: List[Finding] = []
        if name in found.stale:
            said.append(finding("pool.broken", health=DEGRADED, pool=name, file=config.path))
        look = None
        if (name, "mount") in questions:
            answer = answers.get((name, "mount"))
            if answer is None:
                said.append(finding("mount.no-answer", target=pool.target or name, seconds=pool.gate.timeout))
            else:
                said += _fault(answer) or answer.value
        if (name, "array") in questions:
            answer = answers.get((name, "array"))
            if answer is None:
                array = config.arrays[pool.ontap]
                late = f"nothing within {pool.gate.timeout:.1f} s"
                said.append(finding("array.no-answer", array=array.name, address=array.address, error=late))
            else:
                look = answer.value
                said += _fault(answer) or look.findings
        if self.standing is not None:
            said += self.standing.findings(pool, look)
        return Health(self.first_seen.fill(name, said, time.time()), look, (name, "mount") in questions)

    def _images(
        self, seen: Seen, found: Configured, started: float, looked_into: Set[Source]
    ) -> Tuple[Source, ...]:
        """What the VM's images name that its XML does not.

        Only images in pools that were found sound, and such as lie on this host's own disks, are opened: opening any other may
        hang.  What is named is matched to pools in turn, and looked into once their pool has been found sound.
        """
        local = time.monotonic() + LOCAL
        todo: Dict[Source, float] = {}
        for source in seen.domain.sources:
            if source in looked_into or not chain.wanted(source):
                continue
            names = self._pools_of(source, seen, found)
            if all(_is_sound(seen, name) for name in names) and (names or self.on_this_host(self.place(source))):
                limits = [started + _timeout(found.config, name) for name in names]
                todo[source] = max(limits, default=local)
        looked_into.update(todo)
        asking = {
            source: lambda source=source, deadline=deadline: self.behind(
                source, deadline, lambda path: self._may_open(path, seen, found)
            )
            for source, deadline in todo.items()
        }
        named: List[Source] = []
        for source, answer in gather(asking, max(todo.values(), default=0.0) + SLACK).items():
            if answer.error is not None:
                continue
            named += answer.value.sources
            for name in self._pools_of(source, seen, found) if answer.value.unknown else ():
                told = finding("image.chain-unknown", image=self.place(source), error=answer.value.unknown)
                health = seen.healths[name]
                seen.healths[name] = health._replace(findings=health.findings + (told,))
        known = {one._replace(what="") for one in seen.domain.sources}
        return tuple(one for one in dict.fromkeys(named) if one._replace(what="") not in known)

    def _pools_of(self, source: Source, seen: Seen, found: Configured) -> Tuple[str, ...]:
        return tuple(hit.pool for hit in self.hits(seen.domain._replace(sources=(source,)), found))

    def _may_open(self, path: str, seen: Seen, found: Configured) -> bool:
        names = self._pools_of(Source("file", "", path=path), seen, found)
        return all(_is_sound(seen, name) for name in names) and (bool(names) or self.on_this_host(path))


def _is_sound(seen: Seen, name: str) -> bool:
    """Whether a pool's images can be opened: it was asked, and nothing that it said is `failed`."""
    health = seen.healths.get(name)
    return health is not None and health.checked and all(one.health != FAILED for one in health.findings)


def _timeout(config: Config, name: str) -> float:
    pool = config.pools.get(name)
    return pool.gate.timeout if pool is not None else config.gate.timeout


def _fault(answer: Answer) -> Tuple[Finding, ...]:
    """What went wrong within ourselves, as a finding of unknown health."""
    if answer.error is None:
        return ()
    return (finding("gate.error", error=one_line(f"{type(answer.error).__name__}: {answer.error}")),)
