"""The independent judge: every request and every answer held against ONTAP's own description.

The description is openapi-subset.json: from KVMONTAP_OPENAPI, or ../shared/ontap/ beside the
checkout. The judge knows nothing of the pocket array's code. It needs jsonschema (test venv), which
is imported only when a Judge is made, so that the array runs on a bare Python.

    judge = Judge.at_hand()              # None where the description is not there
    PocketArray(..., observers=(judge,)) # judges every exchange
    judge.violations                     # what was wrong, in order

It is stricter than the description: a property that it does not name is wrong, a filter with an
empty value is wrong (ONTAP then filters nothing), a read-only property in a body is wrong.
"""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from datetime import datetime
from typing import Any, Iterator, NamedTuple, Optional

from .exchange import Answer, Exchange, Request
from .faults import SPOILS

# Codes that any call may answer; the description lists only those of each operation.
GENERAL_CODES = {
    "1",
    "2",
    "3",
    "4",
    "6",
    "6691623",
    "262179",
    "262182",
    "262183",
    "262188",
    "262196",
    "262197",
    "262325",
}
_ANY_QUERY = {"start.index"}  # from a `next` link, whose form is the array's own affair
_OWN_CODES = {"error", "job-failure"}  # faults whose code the test chose

# The description gives their records no _links.
_WITHOUT_LINKS = ("/api/cluster/mediators",)


def description_path() -> Optional[str]:
    """Where openapi-subset.json is, or None."""
    given = os.environ.get("KVMONTAP_OPENAPI")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    beside = os.path.join(os.path.dirname(root), "shared", "ontap", "openapi-subset.json")
    path = given or beside
    return path if os.path.isfile(path) else None


class Violation(NamedTuple):
    """`side` is request or answer; `where` a JSON path or a parameter; `what` says what is wrong."""

    side: str
    method: str
    path: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.side} {self.method} {self.path}: {self.where}: {self.what}"


def _closed(node: Any) -> Any:
    """A copy of the schemas in which objects with named properties allow no others."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and isinstance(node["$ref"], str):
        return {"$ref": node["$ref"]}
    copy = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            copy[key] = {name: _closed(each) for name, each in value.items()}
        elif key in ("items", "allOf", "schema"):
            copy[key] = _closed(value)
        elif not key.startswith("x-") and key not in ("description", "example", "default"):
            copy[key] = value
    if copy.get("properties") and "allOf" not in copy:
        copy.setdefault("additionalProperties", False)
    return copy


def _formats() -> Any:
    import jsonschema

    checker = jsonschema.FormatChecker(formats=())

    @checker.checks("date-time", raises=ValueError)
    def _moment(value: Any) -> bool:
        return not isinstance(value, str) or (
            "T" in value and bool(datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo)
        )

    @checker.checks("uuid", raises=ValueError)
    def _uuid(value: Any) -> bool:
        return not isinstance(value, str) or bool(uuid.UUID(value))

    @checker.checks("int64")
    def _whole(value: Any) -> bool:
        return not isinstance(value, int) or -(2**63) <= value < 2**63

    return checker


class Judge:
    """Callable with an Exchange, from any thread. `seen`: how many exchanges it judged."""

    def __init__(self, path: str):
        import jsonschema

        with open(path, encoding="utf-8") as text:
            description = json.load(text)
        self._paths = description["paths"]
        self._definitions = {
            name: _closed(node) for name, node in description["definitions"].items()
        }
        self._make = jsonschema.Draft4Validator
        self._formats = _formats()
        self._validators: dict = {}
        self._patterns = sorted(
            ((re.compile(self._expression(each)), each) for each in self._paths),
            key=lambda item: item[1].count("{"),
        )
        self._lock = threading.Lock()
        self.violations: list = []
        self.seen = 0

    @classmethod
    def at_hand(cls) -> Optional["Judge"]:
        path = description_path()
        return cls(path) if path else None

    @staticmethod
    def _expression(path: str) -> str:
        return (
            "".join(
                "[^/]+" if part.startswith("{") else re.escape(part)
                for part in re.split(r"(\{[^}]*\})", path)
            )
            + "$"
        )

    def operation(self, method: str, path: str) -> Optional[dict]:
        """The description of a call; None where it has none."""
        if not path.startswith("/api/"):
            return None
        for pattern, template in self._patterns:
            if pattern.match(path[len("/api") :]):
                found = self._paths[template].get(method.lower())
                if found:
                    return found
        return None

    def __call__(self, exchange: Exchange) -> None:
        found = list(self.judge(exchange))
        with self._lock:
            self.seen += 1
            self.violations += found

    def judge(self, exchange: Exchange) -> Iterator[Violation]:
        """Everything that is wrong with one exchange."""
        request, answer = exchange.request, exchange.answer
        operation = self.operation(request.method, request.path)

        def wrong(side: str, where: str, what: str) -> Violation:
            return Violation(side, request.method, request.path, where, what)

        if operation is None:
            yield wrong("request", "path", "the description has no such call")
            return
        for where, what in self._request(operation, request):
            yield wrong("request", where, what)
        if answer is not None and not SPOILS & set(exchange.faults):
            for where, what in self._answer(operation, request, answer, exchange.faults):
                yield wrong("answer", where, what)

    # -- requests --------------------------------------------------------------------------------

    def _request(self, operation: dict, request: Request) -> Iterator[tuple]:
        declared = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
        for name, value in request.query:
            if name in _ANY_QUERY:
                continue
            if name not in declared:
                yield name, "the call has no such query parameter"
            elif value == "":
                yield name, "empty, which filters nothing"
            else:
                yield from self._parameter(operation, request.method, declared[name], value)
        schema = next(
            (each["schema"] for each in operation["parameters"] if each["in"] == "body"), None
        )
        if request.body is None or (schema is None and request.body == {}):
            return  # NetApp's own client sends {} with every DELETE
        if schema is None:
            yield "body", "the call takes none"
            return
        yield from self._against(schema, request.body, "body")
        yield from self._read_only(schema, request.body, "body")

    def _parameter(
        self, operation: dict, method: str, declared: dict, value: str
    ) -> Iterator[tuple]:
        name, kind = declared["name"], declared.get("type")
        if name in ("fields", "order_by"):
            for each in value.split(","):
                field = each.strip().lstrip("!").split(" ")[0]
                if field not in ("*", "**") and not self.has_field(operation, field):
                    yield name, f"{field} is no field of the record"
        elif name in ("return_timeout", "max_records") or (kind == "integer" and method != "GET"):
            if not re.fullmatch(r"\d+", value):
                yield name, f"{value} is not a number"
            elif name == "return_timeout" and int(value) > 120:
                yield name, f"{value} is more than 120"
        elif kind == "boolean" and value.lstrip("!") not in ("true", "false"):
            yield name, f"{value} is not true or false"

    def _resolved(self, schema: dict) -> dict:
        while "$ref" in schema:
            schema = self._definitions[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def has_field(self, operation: dict, field: str) -> bool:
        """Whether the records that a GET answers have this dotted field."""
        schema = self._resolved(operation["responses"]["200"].get("schema", {}))
        records = schema.get("properties", {}).get("records")
        if records is not None:
            schema = self._resolved(records["items"])
        for part in field.split("."):
            if part == "*":
                return True
            schema = schema.get("properties", {}).get(part)
            if schema is None:
                return False
            schema = self._resolved(schema)
            if "items" in schema:
                schema = self._resolved(schema["items"])
        return True

    def _read_only(self, schema: dict, value: Any, where: str) -> Iterator[tuple]:
        schema = self._resolved(schema)
        if isinstance(value, list) and "items" in schema:
            for number, item in enumerate(value):
                yield from self._read_only(schema["items"], item, f"{where}[{number}]")
        if isinstance(value, dict):
            for name, item in value.items():
                part = schema.get("properties", {}).get(name)
                if part is not None:
                    if self._resolved(part).get("readOnly"):
                        yield f"{where}.{name}", "is read-only"
                    yield from self._read_only(part, item, f"{where}.{name}")

    # -- answers ---------------------------------------------------------------------------------

    def _answer(
        self, operation: dict, request: Request, answer: Answer, faults: tuple
    ) -> Iterator[tuple]:
        responses = operation["responses"]
        declared = responses.get(str(answer.status))
        if declared is None and answer.status >= 400:
            declared = responses["default"]
            if not _OWN_CODES & set(faults):
                yield from self._code(operation, (answer.body or {}).get("error", {}).get("code"))
            if not (answer.body or {}).get("error", {}).get("message"):
                yield "error.message", "an error says nothing"
        if declared is None:
            yield "status", f"{answer.status} is none of {', '.join(sorted(responses))}"
            return
        schema = declared.get("schema")
        if schema is not None:
            if not isinstance(answer.body, dict):
                yield "body", "is not an object"
                return
            yield from self._against(schema, answer.body, "body")
            yield from self._shape(request, answer.body)
            if "start_time" in answer.body and not _OWN_CODES & set(faults):
                yield from self._job(answer.body)
        for name in declared.get("headers", {}):
            if name not in dict(answer.headers) and answer.status < 400:
                yield f"header {name}", "is missing"
        if answer.status == 202 and not ((answer.body or {}).get("job") or {}).get("uuid"):
            yield "body.job", "a 202 names its job"

    @staticmethod
    def _shape(request: Request, body: dict) -> Iterator[tuple]:
        if "records" in body and body.get("num_records") != len(body["records"]):
            yield "body.num_records", "is not the number of records"
        for number, each in enumerate(body.get("records", [])):
            if request.method == "GET" and "_links" not in each and request.path not in _WITHOUT_LINKS:
                yield f"body.records[{number}]", "has no _links"

    def _code(self, operation: dict, code: Any) -> Iterator[tuple]:
        listed = operation["responses"]["default"].get("x-ontap-error-codes", {})
        if code not in listed and code not in GENERAL_CODES:
            yield "error.code", f"{code} is no code of this call"

    def _job(self, body: dict) -> Iterator[tuple]:
        """A failed job has a code of the call that started it, which its description names."""
        method, _, path = str(body.get("description", "")).partition(" ")
        operation = self.operation(method, path) if path else None
        if body.get("state") == "failure" and operation is not None and "error" in body:
            yield from self._code(operation, body["error"].get("code"))

    def _against(self, schema: dict, value: Any, where: str) -> Iterator[tuple]:
        key = json.dumps(schema, sort_keys=True)
        with self._lock:
            if key not in self._validators:
                whole = {**_closed(schema), "definitions": self._definitions}
                if "$ref" in schema:
                    whole = {"allOf": [{"$ref": schema["$ref"]}], "definitions": self._definitions}
                self._validators[key] = self._make(whole, format_checker=self._formats)
            validator = self._validators[key]
        for error in validator.iter_errors(value):
            parts = (
                f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
            )
            yield where + "".join(parts), error.message[:300]
