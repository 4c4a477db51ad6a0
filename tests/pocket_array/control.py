"""The control interface under /pocket: health, requests, faults, state, listener, stop.

Every call needs the control token in X-Pocket-Token (or as bearer token).
"""

from __future__ import annotations

import hmac
from typing import Any

from .exchange import Answer, ApiError
from .server import Raw
from .state import DescriptionError


def _wrong(message: str) -> ApiError:
    return ApiError(400, "2", message)


def _authorized(array: Any, raw: Raw) -> bool:
    given = raw.pocket_token or ""
    scheme, _, rest = (raw.authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        given = given or rest.strip()
    return hmac.compare_digest(given.encode(), array.control_token.encode())


def _health(array: Any, method: str, query: dict, body: Any) -> dict:
    return {
        "ok": True,
        "now": array.state.stamp(),
        "port": array.port,
        "listening": array.listener.listening,
        "mute": array.listener.mute,
        "faults": len(array.faults.rows()),
    }


def _requests(array: Any, method: str, query: dict, body: Any) -> dict:
    if method == "DELETE":
        array.log.clear()
        return {}
    found = array.log.entries(
        query.get("method", ""), query.get("path", ""), int(query.get("since", 0))
    )
    return {"requests": array.log.rows(found, query.get("answers") == "true")}


def _faults(array: Any, method: str, query: dict, body: Any) -> dict:
    if method == "POST":
        return array.faults.add(**(body or {})).row()
    if method == "DELETE":
        return {"cleared": array.faults.clear(int(query["id"]) if "id" in query else None)}
    return {"faults": array.faults.rows()}


def _state(array: Any, method: str, query: dict, body: Any) -> dict:
    if method in ("PATCH", "POST"):
        array.state.change(body or {})
    return array.summary()


def _listener(array: Any, method: str, query: dict, body: Any) -> dict:
    """{"state": "listening" | "refused" | "mute"}; meant for the control port, which stays."""
    wanted = (body or {}).get("state")
    steps = {"listening": array.listen, "refused": array.refuse, "mute": array.mute}
    if wanted not in steps:
        raise ValueError("state is listening, refused or mute.")
    steps[wanted]()
    return {"state": wanted}


def _stop(array: Any, method: str, query: dict, body: Any) -> dict:
    array.stop_asked.set()
    return {"stopping": True}


_PLACES = {
    "/pocket/health": ({"GET"}, _health),
    "/pocket/requests": ({"GET", "DELETE"}, _requests),
    "/pocket/faults": ({"GET", "POST", "DELETE"}, _faults),
    "/pocket/state": ({"GET", "PATCH", "POST"}, _state),
    "/pocket/listener": ({"POST"}, _listener),
    "/pocket/stop": ({"POST"}, _stop),
}


def answer(array: Any, raw: Raw, path: str, query: dict, body: Any) -> Answer:
    """What a call of the control interface is answered; errors have ONTAP's shape."""
    try:
        if not _authorized(array, raw):
            raise ApiError(
                401, "6691623", "The control interface wants its token in X-Pocket-Token."
            )
        methods, work = _PLACES.get(path, (set(), None))
        if work is None or raw.method not in methods:
            raise ApiError(404, "3", f"There is {', '.join(sorted(_PLACES))}.")
        try:
            return Answer(200, work(array, raw.method, query, body))
        except (DescriptionError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise _wrong(f"{type(error).__name__}: {error}") from None
    except ApiError as error:
        return error.answer()
