"""A certificate authority of the pocket array's own, made with the openssl command."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import time
from typing import Iterable, NamedTuple, Optional


class Pair(NamedTuple):
    """Paths of a PEM certificate and its key (mode 0600)."""

    certificate: str
    key: str


def _openssl(*words: str) -> None:
    ended = subprocess.run(
        ["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if ended.returncode:
        raise RuntimeError(f"openssl {words[0]} failed: {' '.join(ended.stderr.split())[-300:]}")


def alternative_names(names: Iterable[str]) -> str:
    """The subjectAltName of these host names and addresses."""
    kinds = []
    for name in names:
        try:
            kinds.append(f"IP:{ipaddress.ip_address(name)}")
        except ValueError:
            kinds.append(f"DNS:{name}")
    return ",".join(kinds)


class Authority:
    """An authority in a directory; made when it is not there yet.

    `ca.pem` is for clients to trust. The same authority signs client certificates.
    """

    def __init__(self, directory: str, name: str = "pocket array CA"):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self.directory = directory
        self.pair = Pair(os.path.join(directory, "ca.pem"), os.path.join(directory, "ca.key"))
        if not os.path.exists(self.pair.certificate):
            self._key(self.pair.key)
            _openssl(
                "req",
                "-x509",
                "-new",
                "-key",
                self.pair.key,
                "-sha256",
                "-days",
                "3650",
                "-subj",
                f"/CN={name}",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
                "-out",
                self.pair.certificate,
            )

    @property
    def certificate(self) -> str:
        return self.pair.certificate

    def _key(self, path: str) -> None:
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
        os.chmod(path, 0o600)

    def _sign(
        self, name: str, file: str, extensions: str, window: Optional[tuple], again: bool = False
    ) -> Pair:
        """`window`: (start, end) as YYMMDDHHMMSSZ, which every openssl's `ca` can do.

        `again`: a pair that was made the same way less than 300 days ago is taken again.
        """
        place = os.path.join(self.directory, file)
        pair, made, order = Pair(place + ".pem", place + ".key"), place + ".made", ""
        wanted = f"{name}\n{extensions}\n{window}\n"
        if (
            again
            and os.path.exists(made)
            and abs(time.time() - os.path.getmtime(made)) < 300 * 86400
        ):
            with open(made, encoding="utf-8") as text:
                order = text.read()
        if order != wanted:
            if os.path.exists(made):
                os.unlink(made)
            self._make(name, pair, extensions, window)
            with open(made, "w", encoding="utf-8") as text:
                text.write(wanted)
        return pair

    def _make(self, name: str, pair: Pair, extensions: str, window: Optional[tuple]) -> None:
        request, base = pair.certificate + ".csr", pair.certificate + ".d"
        self._key(pair.key)
        _openssl("req", "-new", "-key", pair.key, "-subj", f"/CN={name}", "-out", request)
        os.makedirs(base, exist_ok=True)
        settings = os.path.join(base, "ca.conf")
        for empty in ("index", "index.attr"):
            open(os.path.join(base, empty), "w", encoding="ascii").close()
        with open(settings, "w", encoding="utf-8") as lines:
            lines.write(
                f"[ca]\ndefault_ca=own\n[own]\nnew_certs_dir={base}\ndatabase={base}/index\n"
                f"rand_serial=yes\ndefault_md=sha256\npolicy=any\nx509_extensions=ext\n"
                f"copy_extensions=none\nunique_subject=no\n[any]\ncommonName=supplied\n"
                f"[ext]\nbasicConstraints=critical,CA:false\nauthorityKeyIdentifier=keyid\n"
                f"subjectKeyIdentifier=hash\n{extensions}\n"
            )
        times = ("-startdate", window[0], "-enddate", window[1]) if window else ("-days", "365")
        _openssl(
            "ca",
            "-batch",
            "-notext",
            "-config",
            settings,
            "-cert",
            self.pair.certificate,
            "-keyfile",
            self.pair.key,
            "-in",
            request,
            "-out",
            pair.certificate,
            *times,
        )

    def server(self, names: Iterable[str], file: str = "server", expired: bool = False) -> Pair:
        """A server certificate for these names and addresses."""
        names = list(names)
        return self._sign(
            names[0],
            file,
            "extendedKeyUsage=serverAuth\nsubjectAltName=" + alternative_names(names),
            ("200101000000Z", "200201000000Z") if expired else None,
            again=True,
        )

    def client(self, user: str, file: Optional[str] = None, expired: bool = False) -> Pair:
        """A client certificate whose common name is the user's name."""
        return self._sign(
            user,
            file or f"client-{user}",
            "extendedKeyUsage=clientAuth",
            ("200101000000Z", "200201000000Z") if expired else None,
        )
