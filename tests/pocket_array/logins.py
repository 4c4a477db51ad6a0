"""Who may do what: password, client certificate and bearer token logins; roles per REST path.

A role is a list of {"path", "access"}; the longest path that fits decides, as in ONTAP. `*` stands
for one part of a path. Access: none, readonly, read_create, read_modify, read_create_modify, all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Optional

from .exchange import ApiError
from .state import DescriptionError

_ACCESS = {
    "none": set(),
    "readonly": {"GET"},
    "read_create": {"GET", "POST"},
    "read_modify": {"GET", "PATCH"},
    "read_create_modify": {"GET", "POST", "PATCH"},
    "all": {"GET", "POST", "PATCH", "DELETE"},
}
_ROLES = {
    "admin": [{"path": "/api", "access": "all"}],
    "readonly": [{"path": "/api", "access": "readonly"}],
    "none": [{"path": "/api", "access": "none"}],
}


def _not_a_user() -> ApiError:
    return ApiError(401, "6691623", "User is not authorized.")


@dataclass(frozen=True)
class User:
    """`password` and `token` are kept hashed; `svm` limits what is seen to one SVM."""

    name: str
    role: str = "admin"
    password: Optional[bytes] = None
    token: Optional[bytes] = None
    certificate: bool = False
    svm: Optional[str] = None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _fits(pattern: str, path: str) -> bool:
    expression = "/".join(
        "[^/]+" if part == "*" else re.escape(part) for part in pattern.rstrip("/").split("/")
    )
    return re.match(expression + r"(/|$)", path) is not None


class Logins:
    """All users and roles of the array. Without any user, `admin` with password `pocket`."""

    def __init__(self, users: list, roles: dict):
        self._roles = {**_ROLES, **roles}
        self._users = {}
        for item in users or [{"name": "admin", "password": "pocket", "certificate": True}]:
            self._add(dict(item))

    def _add(self, item: dict) -> None:
        for kind in ("password", "token"):
            source = item.pop(f"{kind}_file", None)
            if source:
                with open(source, encoding="utf-8") as lines:
                    item[kind] = lines.readline().rstrip("\n")
            if item.get(kind) is not None:
                item[kind] = _digest(item[kind])
        user = User(**item)
        if user.role not in self._roles:
            raise DescriptionError(f"user {user.name}: there is no role {user.role}.")
        self._users[user.name] = user

    def who(self, authorization: Optional[str], common_name: Optional[str]) -> User:
        """The user of a request from its Authorization header, else from its client certificate."""
        scheme, _, rest = (authorization or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                name, _, password = (
                    base64.b64decode(rest.strip(), validate=True).decode().partition(":")
                )
            except (binascii.Error, UnicodeDecodeError):
                raise _not_a_user() from None
            user = self._users.get(name)
            if user and user.password and hmac.compare_digest(user.password, _digest(password)):
                return user
        elif scheme.lower() == "bearer":
            given = _digest(rest.strip())
            for user in self._users.values():
                if user.token and hmac.compare_digest(user.token, given):
                    return user
        elif common_name:
            user = self._users.get(common_name)
            if user and user.certificate:
                return user
        raise _not_a_user()

    def allow(self, user: User, method: str, path: str) -> None:
        """ApiError 403 code 6 where the user's role does not let it do that."""
        fitting = [rule for rule in self._roles[user.role] if _fits(rule["path"], path)]
        access = max(fitting, key=lambda rule: len(rule["path"]))["access"] if fitting else "none"
        if method not in _ACCESS[access]:
            raise ApiError(403, "6", "not authorized for that command")
