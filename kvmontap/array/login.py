"""How we log in to an array: secrets from their files, checked, and the TLS context that carries them.

An edge: reads files.  Imports neither netapp_ontap nor requests.
"""

import ssl
from typing import NamedTuple

from kvmontap.config.secrets import SecretError, read_secret, usable
from kvmontap.model import Array


class Login(NamedTuple):
    """What proves who we are; exactly one of password, token and certificate is set."""

    user: str  # for sentences: the account, "its certificate" or "its token"
    username: str = ""
    password: str = ""
    token: str = ""
    certificate: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"Login({self.user})"  # a NamedTuple would print the password


def account(array: Array) -> str:
    """Who we log in as, for sentences."""
    if array.certificate:
        return "its certificate"
    return "its token" if array.token_file else array.username or "nobody"


def read(array: Array) -> Login:
    """The array's login from the files that its section names; raises SecretError."""
    user = account(array)
    if array.certificate:
        return Login(user, certificate=array.certificate, key=usable(array.key or array.certificate))
    if array.token_file:
        token = read_secret(array.token_file).strip()
        # requests names the whole value of a header that it refuses.
        if not token.isascii() or not token.isprintable() or " " in token or "." not in token:
            raise SecretError(f"{array.token_file} holds no bearer token; put the token alone on its first line")
        return Login(user, token=token)
    if not array.username:
        raise SecretError("no login; set username= and password-file=, certificate= and key=, or token-file=")
    if not array.password_file:
        raise SecretError(f"no password for {array.username}; set password-file=")
    return Login(user, username=array.username, password=read_secret(array.password_file))


def add_certificate(context: ssl.SSLContext, login: Login) -> None:
    """Loads the login's certificate and key; raises SecretError."""

    def no_passphrase() -> bytes:
        # Without this, OpenSSL asks on the terminal and the caller waits for ever.
        raise SecretError(f"{login.key} is protected by a passphrase; keep it without one, mode 0600")

    try:
        context.load_cert_chain(login.certificate, login.key, password=no_passphrase)
    except ssl.SSLError as error:
        reason = "they do not belong together" if "MISMATCH" in (error.reason or "") else "they are not PEM"
        raise SecretError(f"{login.certificate} and {login.key} cannot be used: {reason}") from None
    except OSError as error:
        raise SecretError(f"{login.certificate} cannot be read: {error.strerror}") from None
