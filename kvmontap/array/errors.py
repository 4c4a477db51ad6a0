"""What went wrong between us and an array, as one finding with ONTAP's own code and words.

Pure but for reading exceptions; imports neither netapp_ontap nor requests, whose exceptions it knows by what they wrap.
"""

import http.client
import socket
import ssl
from typing import Iterator, List, NamedTuple, Optional, Tuple

from kvmontap.array.answers import AnswerError, one_line
from kvmontap.model import Finding
from kvmontap.reasons import finding

NOT_AUTHORISED = "6"
NO_ENTRY = "4"
UNKNOWN_API = "3"  # a path that this ONTAP does not have
# "The field ... is not known": a query, and a body, of a newer ONTAP than the one that answers.
UNKNOWN_FIELD = ("262197", "262179")


class ArrayError(Exception):
    """One failed operation on an array.

    `finding` says it for people; `ontap_code` and `message` are the array's own ("" where it said nothing); `status` is
    HTTP's (0 without an answer); `maybe_done` is true where a request went out and no usable answer to it came back, and `hung_up`
    where the array closed the connection instead of answering, as it does with one that has been idle for too long.
    """

    def __init__(
        self,
        finding: Finding,
        ontap_code: str = "",
        message: str = "",
        status: int = 0,
        maybe_done: bool = False,
        hung_up: bool = False,
    ) -> None:
        super().__init__(finding.text)
        self.finding = finding
        self.ontap_code = ontap_code
        self.message = message
        self.status = status
        self.maybe_done = maybe_done
        self.hung_up = hung_up


class Where(NamedTuple):
    """Whom we were talking to and about what: the names that a sentence needs."""

    array: str
    address: str
    user: str  # the account, or "its certificate", "its token"
    what: str  # "volumes", "snapshots", ...
    doing: str = "read"
    certificate: bool = False  # whether we log in with one


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that it wraps, outermost first, however the library at hand keeps it."""
    queue: List[BaseException] = [error]
    seen = set()
    while queue:
        one = queue.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [getattr(one, "cause", None), getattr(one, "reason", None), one.__cause__, one.__context__]
        queue.extend(item for item in (*inner, *one.args) if isinstance(item, BaseException))


def explain(error: BaseException, where: Where, seconds: float) -> ArrayError:
    """The ArrayError for what netapp_ontap, requests, urllib3, ssl or socket raised after `seconds`."""
    chain = tuple(causes(error))
    for one in chain:
        if isinstance(one, ArrayError):
            return one
    for one in chain:
        response = getattr(one, "response", None)
        if response is not None and getattr(response, "status_code", 0) >= 400:
            return refused(response.status_code, _body(response), where)
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _made("array.certificate", where, one_line(one.verify_message or str(one)))
    for one in chain:
        if isinstance(one, ssl.SSLError) and _is_certificate_alert(one):
            return ArrayError(finding("array.login", array=where.array, address=where.address, user=where.user))
    if _find(chain, http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError):
        doubt = " (it may not take our certificate)" if where.certificate else ""
        return _made("array.no-answer", where, f"it closed the connection{doubt}", maybe_done=True, hung_up=True)
    code, words, maybe_done = _plain(chain, seconds)
    return _made(code, where, words, maybe_done=maybe_done)


def refused(status: int, body: object, where: Where) -> ArrayError:
    """The ArrayError for an HTTP status of 400 or more, or for a failed job (status 0)."""
    code, message = ontap_error(body)
    told = one_line(f"{message} (ONTAP {code})" if message and code else message or f"HTTP {status}")
    if code == NOT_AUTHORISED or (status == 403 and not code):
        made = finding("array.rights", array=where.array, user=where.user, doing=where.doing, what=where.what)
    elif status == 401:
        made = finding("array.login", array=where.array, address=where.address, user=where.user)
    else:
        made = finding(
            "array.error", array=where.array, address=where.address, doing=where.doing, what=where.what, error=told
        )
    return ArrayError(made, code, one_line(message), status)


def ontap_error(body: object) -> Tuple[str, str]:
    """(code, message) of an answer's `error`, ("", "") where it has none."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", ""
    code, message = error.get("code"), error.get("message")
    return str(code) if isinstance(code, (str, int)) else "", message if isinstance(message, str) else ""


def unusable(where: Where, words: str, maybe_done: bool = False) -> ArrayError:
    """The ArrayError for an answer that says nothing we can use."""
    return _made("array.answer", where, words, maybe_done=maybe_done)


def _made(code: str, where: Where, words: str, maybe_done: bool = False, hung_up: bool = False) -> ArrayError:
    made = finding(code, array=where.array, address=where.address, error=words)
    return ArrayError(made, maybe_done=maybe_done, hung_up=hung_up)


def _body(response: object) -> object:
    try:
        return response.json()  # type: ignore[attr-defined]
    except ValueError:
        return None


def _is_certificate_alert(error: ssl.SSLError) -> bool:
    """Whether the other side refused our certificate, or misses one, by a TLS alert."""
    words = f"{error.reason or ''} {error}".upper().replace(" ", "_")
    return "ALERT" in words and ("CERTIFICATE" in words or "UNKNOWN_CA" in words or "ACCESS_DENIED" in words)


def _find(chain: Tuple[BaseException, ...], *kinds: type) -> Optional[BaseException]:
    return next((one for one in chain if isinstance(one, kinds)), None)


def _plain(chain: Tuple[BaseException, ...], seconds: float) -> Tuple[str, str, bool]:
    """(reason code, words, whether the request may have been carried out) for what is neither HTTP's nor a certificate's."""
    unknown = _find(chain, socket.gaierror)
    if unknown is not None:
        return "array.no-answer", f"its name cannot be resolved ({one_line(str(unknown.args[-1]))})", False
    if any(type(one).__name__ == "TooManyRedirects" for one in chain) or any(
        type(one).__name__ == "InvalidSchema" for one in chain
    ):
        return "array.answer", "it sends us to another address", False
    if _find(chain, ConnectionRefusedError):
        return "array.no-answer", "connection refused", False
    if any(type(one).__name__ == "TooLarge" for one in chain):
        return "array.answer", "it is larger than any answer to what was asked", True
    if any(isinstance(one, (socket.timeout, TimeoutError)) for one in chain):
        connecting = any(type(one).__name__ in ("NewConnectionError", "ConnectTimeoutError") for one in chain)
        return "array.no-answer", f"nothing within {seconds:.1f} s", not connecting
    if any(type(one).__name__ in ("IncompleteRead", "ChunkedEncodingError") for one in chain):
        return "array.answer", "it ends in the middle", True
    if any(type(one).__name__ == "JSONDecodeError" for one in chain):
        return "array.answer", "it is not JSON", True
    tls = _find(chain, ssl.SSLError)
    if tls is not None:
        return "array.no-answer", f"no TLS connection ({one_line(getattr(tls, 'reason', None) or str(tls))})", True
    if _find(chain, http.client.HTTPException):
        return "array.answer", "it is not HTTP", True
    shape = _find(chain, AnswerError)
    if shape is not None:
        return "array.answer", one_line(str(shape)), True
    failed = next((one for one in chain if isinstance(one, OSError) and one.strerror), None)
    if failed is not None:
        return "array.no-answer", one_line(str(failed.strerror)).lower(), True
    return "array.answer", "it is not what the API promises", True
