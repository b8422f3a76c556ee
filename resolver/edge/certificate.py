"""The certificate of an edge: reads it, reads it again when its files change, and makes the contexts of TLS.

Rules:
- Connections that are set up keep what they have; those that begin get the new certificate. None is refused meanwhile.
- A pair of files that cannot be used, or that would be worse than the one in force (expired, not yet valid, without the
  name), is not taken: a line of the log says why, once, and what to do. It is looked at again when a file changes.
- At a start any pair that TLS can use is taken, with an error in the log if it is expired or has another name: clients
  that do not verify are served, and those that do see the same error (RFC 8310 5).
- TLS 1.2 with forward secrecy and authenticated encryption alone, or 1.3 (RFC 9325 4.2, RFC 9113 9.2.2). Sessions are
  resumed by tickets; there is no early data and no renegotiation.
"""

import logging
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509

LOOK_S: Final = 5.0
SAY_AGAIN_S: Final = 3600.0
WARN_S: Final = 14 * 86400
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
MOST_OCTETS: Final = 2**20
TRIES: Final = 3

_log: Final = logging.getLogger("resolver.edge")

_STRANGE: Final = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
"""Errors of `cryptography` over what OpenSSL takes; but for the first they are no ValueError."""

Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Unusable(Exception):
    """The pair of files cannot be used; the text names the key of the configuration and says what to do."""


class Pair(NamedTuple):
    """A certificate and its key: the files, from when and until when it is valid (unix seconds), and its names."""

    certificate: str
    key: str
    begins: int
    expires: int
    names: tuple[str, ...]

    def fault(self, name: str, now: float) -> str:
        """Return why a client that verifies `name` does not take it; "" if it does."""
        if now >= self.expires:
            return f"expired on {_date(self.expires)}"
        if now < self.begins:
            return f"not valid before {_date(self.begins)}"
        return "" if _covers(self.names, name) else f"is not for {name} (edge.name)"


class Certificate:
    """The pair of files in force, and a context of TLS with it for each use.

    alpn: of each use, the protocols that its context offers. clock: unix seconds. changed: are called with each pair
    that comes into force later.
    """

    def __init__(
        self, certificate: str, key: str, name: str, alpn: Mapping[str, Sequence[str]], clock: Callable[[], float]
    ) -> None:
        """Read the files; Unusable."""
        self.changed: list[Callable[[Pair], None]] = []
        self._paths = certificate, key
        self._name = name
        self._uses = alpn
        self._clock = clock
        self._said_at = float("-inf")
        self._stamp, self.pair, self.contexts = self._read()
        self.remind()

    @property
    def fault(self) -> str:
        """The reason why clients that verify do not take the pair in force now; "" if they do."""
        return self.pair.fault(self._name, self._clock())

    def look(self) -> None:
        """Read the files again if they have changed, and log what is to be done about the pair in force."""
        if self._stamp_now() != self._stamp:
            self.reload()
        self.remind()

    def reload(self) -> bool:
        """Read the files again; return whether what they have is in force."""
        self._stamp = self._stamp_now()
        try:
            stamp, pair, contexts = self._read()
            fault = pair.fault(self._name, self._clock())
            if fault and not self.fault:
                raise Unusable(f"edge.certificate: {pair.certificate}: {fault}")
        except Unusable as error:
            _log.error("%s; the certificate before stays in use", error)
            return False
        self._stamp, self.pair, self.contexts = stamp, pair, contexts
        _log.info("edge.certificate: in use until %s", _date(pair.expires))
        self._said_at = float("-inf")
        for notify in self.changed:
            notify(pair)
        return True

    def remind(self) -> None:
        """Log, at most once in SAY_AGAIN_S, that clients which verify do not take the certificate, or soon will not."""
        now, path = self._clock(), self.pair.certificate
        if now - self._said_at < SAY_AGAIN_S:
            return
        if self.fault:
            said = "edge.certificate: %s: %s: clients that verify do not connect, others do; renew it"
            _log.error(said, path, self.fault)
        elif self.pair.expires - now < WARN_S:
            _log.warning("edge.certificate: %s: ends on %s; renew it", path, _date(self.pair.expires))
        else:
            return
        self._said_at = now

    def _read(self) -> tuple[Stamp, Pair, dict[str, ssl.SSLContext]]:
        """Return the files as they are, and contexts with them; Unusable."""
        for _ in range(TRIES):
            stamp = self._stamp_now()
            try:
                contexts = {use: self._loaded(alpn) for use, alpn in self._uses.items()}
                pair = self._parsed()
            except Unusable:
                if self._stamp_now() == stamp:
                    raise
                continue  # the certificate of one renewal and the key of the next, perhaps
            if self._stamp_now() == stamp:
                return stamp, pair, contexts
        raise Unusable(f"edge.certificate: {self._paths[0]}: changes while it is read")

    def _parsed(self) -> Pair:
        certificate, key = self._paths
        try:
            with open(certificate, "rb") as file:
                leaf = x509.load_pem_x509_certificates(file.read(MOST_OCTETS))[0]
            begins, expires = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        except (OSError, *_STRANGE):
            raise Unusable(f"edge.certificate: {certificate}: no certificate can be read there") from None
        try:
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            dns = tuple(names.get_values_for_type(x509.DNSName))
        except (x509.ExtensionNotFound, *_STRANGE):
            dns = ()
        return Pair(certificate, key, int(begins.timestamp()), int(expires.timestamp()), dns)

    def _loaded(self, alpn: Sequence[str]) -> ssl.SSLContext:
        certificate, key = self._paths
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        for at, path in (("certificate", certificate), ("key", key)):
            if not os.access(path, os.R_OK):
                said = "this account may not read it" if os.path.exists(path) else "there is no such file"
                raise Unusable(f"edge.{at}: {path}: {said}")
        try:
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (ssl.SSLError, OSError, ValueError) as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                raise Unusable(f"edge.key: {key}: is not the key of {certificate}; renew both together") from None
            said = f"edge.certificate: {certificate}, edge.key: {key}: expected PEM, the key without a passphrase"
            raise Unusable(said) from None
        context.set_alpn_protocols(list(alpn))
        return context

    def _stamp_now(self) -> Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _covers(names: tuple[str, ...], name: str) -> bool:
    """Return whether one of the names of a certificate is `name`, or a wildcard for it (RFC 9525 6.3)."""
    rest = name.partition(".")[2]
    return any(one.lower() in (name, f"*.{rest}") for one in names)


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
