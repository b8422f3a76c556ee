"""Asks a DNS server one query, for the verb `ask`, the self-test, the demonstration and the tests.

Rules:
- An answer counts only if core.question matches it with the query and core.message reads it to its end. Only then
  dnslib parses it, because dnslib has no bounds of its own.
- Nothing is logged or kept; the caller gets the result.
- Over TLS, HTTPS and QUIC the server is verified (`encrypted`), or nothing is asked.
"""

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dnslib
from dnslib import QTYPE, RCODE, buffer
from dnslib.label import DNSLabelError

from resolver.config.values import Endpoint, sockaddr
from resolver.core.message import Message, read
from resolver.core.question import Question, matches, parse
from resolver.dns_client.encrypted import NotSecured, Secured, Verified, exchange

PAYLOAD = 1232
_EDE = 15
_EDE_NAMES = {
    0: "Other Error",
    3: "Stale Answer",
    4: "Forged Answer",
    14: "Not Ready",
    15: "Blocked",
    16: "Censored",
    17: "Filtered",
    18: "Prohibited",
    19: "Stale NXDOMAIN Answer",
    20: "Not Authoritative",
    22: "No Reachable Authority",
    23: "Network Error",
}


class AskError(Exception):
    """Raised if there is no answer to show; its text gives the reason, without the name."""


class NotAQuestion(AskError):
    """Raised if the name or the type cannot be put into a query."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer: its octets, their meaning as text, and the seconds it took."""

    octets: bytes
    rcode: str
    flags: tuple[str, ...]
    answers: tuple[str, ...]
    authorities: tuple[str, ...]
    additionals: tuple[str, ...]
    errors: tuple[tuple[int, str], ...]
    seconds: float
    secured: Secured | None = None
    """How the connection was secured; None over UDP and TCP."""


def ask(
    name: str, qtype: str, server: Endpoint, over: str, timeout_s: float, how: Verified | None = None, **flags: bool
) -> Reply:
    """Ask `server` for `name` and `qtype`, and return its answer; AskError if there is none.

    over: "udp", "tcp", "tls", "https" or "quic". how: the last three verify the server so. flags: those of
    `build_query`.
    """
    query = build_query(name, qtype, **flags)
    started = time.monotonic()
    secured = None
    try:
        if over in _WAYS:
            octets = _WAYS[over](query, server, timeout_s)
        else:
            secured = exchange(query, server, over, timeout_s, how or Verified())
            octets = secured.octets
    except NotSecured as error:
        raise AskError(f"{server}: {error}") from None
    except TimeoutError:
        raise AskError(f"no answer from {server} within {timeout_s:g} s") from None
    except OSError as error:
        raise AskError(f"{server}: {error.strerror or type(error).__name__}") from None
    return replace(understand(octets, query, time.monotonic() - started), secured=secured)


def build_query(
    name: str, qtype: str, *, rd: bool = True, cd: bool = False, do: bool = False, edns: bool = True
) -> bytes:
    """Return the octets of a query; NotAQuestion if the name or the type cannot be put into one."""
    kind = _type_number(qtype.upper())
    try:
        label = dnslib.DNSLabel(name.encode("ascii").decode())
    except (UnicodeError, DNSLabelError):
        raise NotAQuestion("not a valid name; write an internationalized name as xn--") from None
    header = dnslib.DNSHeader(id=secrets.randbits(16), rd=int(rd), cd=int(cd))
    record = dnslib.DNSRecord(header, q=dnslib.DNSQuestion(label, kind))
    if edns:
        record.add_ar(dnslib.EDNS0(flags="do" if do else "", udp_len=PAYLOAD))
    try:
        return bytes(record.pack())
    except (dnslib.DNSError, DNSLabelError, ValueError):
        raise NotAQuestion("not a valid name") from None


def understand(octets: bytes, query: bytes, seconds: float) -> Reply:
    """Return the answer as text; AskError if it does not match the query or does not parse to its end."""
    question, message = Question(), Message()
    parse(query, len(query), question)
    if matches(octets, len(octets), query, question) == 0:
        raise AskError("the answer does not match the query")
    if len(octets) > 12 and not read(octets, len(octets), message):
        raise AskError("the answer does not parse to its end")
    try:
        return _in_words(octets, message, seconds)
    except (dnslib.DNSError, buffer.BufferError, UnicodeError):
        raise AskError("the answer cannot be shown as text") from None


def _in_words(octets: bytes, message: Message, seconds: float) -> Reply:
    """Return the answer as text; raise any error that dnslib has when it parses a record or turns it into text."""
    record = dnslib.DNSRecord.parse(octets)
    header = record.header
    flags = tuple(flag for flag in ("aa", "tc", "rd", "ra", "ad", "cd") if getattr(header, flag))
    return Reply(
        octets=octets,
        rcode=str(RCODE.get(message.rcode or header.rcode)),
        flags=flags,
        answers=tuple(map(_line, record.rr)),
        authorities=tuple(map(_line, record.auth)),
        additionals=tuple(_line(one) for one in record.ar if one.rtype != QTYPE.OPT),
        errors=tuple(_errors(record)),
        seconds=seconds,
    )


def _type_number(text: str) -> int:
    if text.startswith("TYPE") and text[4:].isdigit() and int(text[4:]) < 65536:
        return int(text[4:])
    known = QTYPE.reverse.get(text)
    if known is None:
        raise NotAQuestion("not a known type; write it as TYPE and its number, such as TYPE65")
    return int(known)


def _line(record: Any) -> str:
    return f"{record.rname} {record.ttl} {QTYPE.get(record.rtype)} {record.rdata}"


def _errors(record: Any) -> list[tuple[int, str]]:
    found = []
    for one in record.ar:
        for option in one.rdata if one.rtype == QTYPE.OPT else ():
            if option.code == _EDE and len(option.data) >= 2:
                code = int.from_bytes(option.data[:2], "big")
                found.append((code, _EDE_NAMES.get(code, "see RFC 8914")))
    return found


def _by_datagram(query: bytes, server: Endpoint, timeout_s: float) -> bytes:
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(timeout_s)
        one.connect(sockaddr(server))
        one.send(query)
        return one.recv(65535)


def _connected(server: Endpoint, timeout_s: float) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in server.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.settimeout(timeout_s)
        one.connect(sockaddr(server))
    except OSError:
        one.close()
        raise
    return one


def _by_stream(query: bytes, server: Endpoint, timeout_s: float) -> bytes:
    with _connected(server, timeout_s) as one, one.makefile("rb") as stream:
        one.sendall(len(query).to_bytes(2, "big") + query)
        head = stream.read(2)
        octets = stream.read(int.from_bytes(head, "big"))
        if len(head) < 2 or len(octets) < int.from_bytes(head, "big"):
            raise ConnectionAbortedError
        return octets


_WAYS: dict[str, Callable[[bytes, Endpoint, float], bytes]] = {"udp": _by_datagram, "tcp": _by_stream}
