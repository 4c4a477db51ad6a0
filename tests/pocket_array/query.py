"""Query parameters of a GET: filters, fields, order, pages. Pure functions over JSON shaped rows.

A row is the whole record of one object as nested dicts (dates as ISO text), without `_links`.
The rules are ONTAP's: a list without `fields` gives identities only; `*` leaves out what is
expensive; naming a field or a subtree gives all of it; `a|b`, `*`, `!a`, `<5`, `3..5`, `null`,
"quoted". A filter with an empty value filters nothing, which is how callers lose everything.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any, Callable, Iterable, NamedTuple, Optional

from .exchange import Answer, Request, invalid_value, unexpected

CONTROLS = (
    "fields",
    "max_records",
    "return_records",
    "return_timeout",
    "order_by",
    "start.index",
    "query",
    "query_fields",
)


class Collection(NamedTuple):
    """How records of one kind are shown.

    path: of the list, {} for parents; identity: dotted fields always given; known: the top level
    names a record may have in ONTAP; expensive: dotted fields, `x.*` for subtrees, not in `*`;
    href: from a row to its own link.
    """

    path: str
    identity: tuple
    known: frozenset
    expensive: tuple
    href: Callable[[dict], str]


def link(href: str) -> dict:
    return {"self": {"href": href}}


def values_at(value: Any, path: str) -> list:
    """All values at a dotted path; lists are looked through, what is missing is left out."""
    found = [value]
    for part in path.split("."):
        found = [item for each in found for item in (each if isinstance(each, list) else [each])]
        found = [each[part] for each in found if isinstance(each, dict) and part in each]
    found = [item for each in found for item in (each if isinstance(each, list) else [each])]
    return [each for each in found if each is not None]


def _split(text: str) -> list:
    """The alternatives of a filter: parted by | or , outside quotes."""
    return re.findall(r'(!?"(?:[^"\\]|\\.)*"|[^|,]+)', text)


def _as_number(value: Any) -> Optional[float]:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare(value: Any, operator: str, bound: str) -> bool:
    left: Any = _as_number(value)
    right: Any = _as_number(bound)
    if left is None or right is None:
        left, right = _text(value), bound
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[
        operator
    ]


def _fits(value: Any, term: str) -> bool:
    if term.startswith('"') and term.endswith('"') and len(term) > 1:
        return _text(value) == re.sub(r"\\(.)", r"\1", term[1:-1])
    bound = re.match(r"(<=|>=|<|>)(.*)", term)
    if bound:
        return _compare(value, bound[1], bound[2])
    span = re.fullmatch(r"(-?[\w:+.-]*?)\.\.(-?[\w:+-]+)", term)
    if span and span[1]:
        return _compare(value, ">=", span[1]) and _compare(value, "<=", span[2])
    pattern = "".join(
        ".*" if part == "*" else re.escape(part.replace("\\", "") or part)
        for part in re.findall(r"\\.|\*|[^\\*]+", term)
    )
    return re.fullmatch(pattern, _text(value), re.DOTALL) is not None


def matches(values: list, text: str) -> bool:
    """Whether the values of one field fit the text of a filter."""
    wanted, unwanted = [], []
    for term in _split(text):
        (unwanted if term.startswith("!") else wanted).append(term.lstrip("!"))

    def hit(term: str) -> bool:
        return not values if term == "null" else any(_fits(value, term) for value in values)

    if any(hit(term) for term in unwanted):
        return False
    return not wanted or any(hit(term) for term in wanted)


def _within(leaf: str, names: Iterable[str]) -> bool:
    return any(leaf == name or leaf.startswith(name + ".") for name in names)


class Selection(NamedTuple):
    """Which leaves of a record are shown."""

    star: bool
    everything: bool
    named: tuple
    left_out: tuple
    expensive: tuple

    def shows(self, leaf: str) -> bool:
        if _within(leaf, self.left_out):
            return False
        if self.everything or _within(leaf, self.named):
            return True
        return self.star and not _within(leaf, self.expensive)


def selection(collection: Collection, fields: Optional[str], star: bool) -> Selection:
    """`star`: whether no `fields` at all means everything cheap (one record) or identity (a list)."""
    names = [name.strip() for name in (fields or "").split(",") if name.strip()]
    for name in names:
        top = name.lstrip("!").split(".")[0]
        if name not in ("*", "**") and top not in collection.known:
            raise invalid_value(name, "fields")
    return Selection(
        star="*" in names or (star and not names),
        everything="**" in names,
        named=collection.identity + tuple(n for n in names if n[0] not in "*!"),
        left_out=tuple(n[1:] for n in names if n.startswith("!")),
        expensive=tuple(
            name[:-2] if name.endswith(".*") else name for name in collection.expensive
        ),
    )


def project(value: Any, chosen: Selection, prefix: str = "") -> Any:
    """The part of a row that is shown; None where nothing of it is."""
    if isinstance(value, dict):
        kept = {}
        for key, item in value.items():
            if key == "_links":
                continue
            part = project(item, chosen, f"{prefix}.{key}" if prefix else key)
            if part is not None:
                kept[key] = part
        if kept and "_links" in value:
            kept["_links"] = value["_links"]
        return kept or None
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        parts = [part for item in value if (part := project(item, chosen, prefix)) is not None]
        return parts or None
    return value if value is not None and chosen.shows(prefix) else None


def record(collection: Collection, row: dict, chosen: Selection) -> dict:
    shown = project(row, chosen) or {}
    shown["_links"] = link(collection.href(row))
    return shown


def _integer(request: Request, name: str, low: int, high: int) -> Optional[int]:
    text = dict(request.query).get(name)
    if text is None or text == "":
        return None
    if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
        raise invalid_value(text, name, f"{low}..{high}")
    return int(text)


def return_timeout(request: Request) -> int:
    """Seconds the caller wants to wait for a job; 0 where nothing is said, 0..120 otherwise."""
    return _integer(request, "return_timeout", 0, 120) or 0


def truth(request: Request, name: str, default: bool) -> bool:
    text = dict(request.query).get(name) or str(default).lower()
    if text not in ("true", "false"):
        raise invalid_value(text, name, "true or false")
    return text == "true"


def filtered(collection: Collection, rows: list, request: Request) -> list:
    for name, text in request.query:
        if name in CONTROLS or text == "":
            continue
        if name.split(".")[0] not in collection.known:
            raise unexpected(name)
        rows = [row for row in rows if matches(values_at(row, name), text)]
    return rows


def ordered(collection: Collection, rows: list, request: Request) -> list:
    spec = dict(request.query).get("order_by") or ""
    for key in reversed([part.strip() for part in spec.split(",") if part.strip()]):
        name, _, way = key.partition(" ")
        if name.split(".")[0] not in collection.known or way not in ("", "asc", "desc"):
            raise invalid_value(key, "order_by")

        def rank(row: dict, name: str = name) -> tuple:
            found = values_at(row, name)
            if not found:
                return (2, 0, "")
            number = None if isinstance(found[0], str) else _as_number(found[0])
            return (0, number, "") if number is not None else (1, 0, _text(found[0]))

        rows = sorted(rows, key=rank, reverse=way == "desc")
    return rows


def list_answer(collection: Collection, rows: list, request: Request) -> Answer:
    """GET of a list. `rows`: all that the caller may see."""
    return_timeout(request)
    size = _integer(request, "max_records", 1, 2**31) or 10000
    start = _integer(request, "start.index", 0, 2**31) or 0
    chosen = selection(collection, dict(request.query).get("fields"), star=False)
    rows = ordered(collection, filtered(collection, rows, request), request)
    page = rows[start : start + size]
    here = urllib.parse.urlencode(request.query)
    links = link(request.path + ("?" + here if here else ""))
    if start + size < len(rows):
        later = [item for item in request.query if item[0] != "start.index"]
        later.append(("start.index", str(start + size)))
        links["next"] = {"href": request.path + "?" + urllib.parse.urlencode(later)}
    body: dict = {"num_records": len(page), "_links": links}
    if truth(request, "return_records", True):
        body["records"] = [record(collection, row, chosen) for row in page]
    return Answer(200, body)


def one_answer(collection: Collection, row: dict, request: Request) -> Answer:
    """GET of one record."""
    for name, _ in request.query:
        if name not in CONTROLS and name.split(".")[0] not in collection.known:
            raise unexpected(name)
    chosen = selection(collection, dict(request.query).get("fields"), star=True)
    return Answer(200, record(collection, row, chosen))
