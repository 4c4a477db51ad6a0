"""Prometheus' text format, version 0.0.4.  Pure."""

from typing import Iterable, List, NamedTuple, Tuple

Labels = Tuple[Tuple[str, str], ...]


class Sample(NamedTuple):
    labels: Labels
    value: float
    suffix: str = ""  # _bucket, _sum, _count of a histogram


class Family(NamedTuple):
    """One metric."""

    name: str
    kind: str  # gauge, counter, histogram
    help: str
    samples: Tuple[Sample, ...]


def text(families: Iterable[Family]) -> str:
    """The file; a metric without a sample is left out."""
    lines: List[str] = []
    for one in families:
        if one.samples:
            lines += [f"# HELP {one.name} {one.help}", f"# TYPE {one.name} {one.kind}"]
            lines += [f"{one.name}{sample.suffix}{_labels(sample.labels)} {number(sample.value)}" for sample in one.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    plain = value.encode("utf-8", "replace").decode()
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """A value as Prometheus reads it: 3.0 -> "3", infinity -> "+Inf"."""
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)
