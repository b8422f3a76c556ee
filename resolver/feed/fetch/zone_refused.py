"""Says why a primary has refused a query, or why its answer does not count: by RCODE, TSIG error, clock.

Rules:
- An error may come unsigned, and anybody on the way may have made it. It ends the fetch with a reason and a detail; no
  list follows from it.
"""

from typing import Final

import dns.exception
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.tsig
import dns.wire

from resolver.feed.details import Code, Detail, Place
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed

_BADSIG, _BADKEY, _BADTIME, _BADTRUNC = 16, 17, 18, 22
_ERRORS: Final = {
    _BADSIG: Code.TSIG_BADSIG,
    _BADKEY: Code.TSIG_BADKEY,
    _BADTRUNC: Code.TSIG_BADTRUNC,
}
_DENIED: Final = frozenset((dns.rcode.REFUSED, dns.rcode.NOTAUTH, dns.rcode.NXDOMAIN, dns.rcode.NOTZONE))
_HEADER_OCTETS: Final = 12
_TIME_OCTETS: Final = 6

_Tsig = dns.rdtypes.ANY.TSIG.TSIG


def refusal(message: bytes, now: int) -> Failed | None:
    """Return the failure that an answer states; None if it states none. now: unix seconds."""
    if len(message) < _HEADER_OCTETS or not message[2] & 0x80:
        return None
    found, rcode = tsig_of(message), message[3] & 15
    if found is not None and found.error:
        if found.error == _BADTIME and len(found.other) == _TIME_OCTETS:
            return Failed(Reason.DENIED, clock(int.from_bytes(found.other, "big") - now))
        if found.error in _ERRORS:
            return Failed(Reason.DENIED, Detail(code=_ERRORS[found.error], at=Place.HOST))
    if rcode == dns.rcode.NOERROR:
        return None
    code = {dns.rcode.REFUSED: Code.ZONE_REFUSED, dns.rcode.NOTAUTH: Code.ZONE_NOTAUTH}.get(
        dns.rcode.Rcode(rcode), Code.ZONE_RCODE
    )
    numbers = (rcode,) if code is Code.ZONE_RCODE else ()
    reason = Reason.DENIED if rcode in _DENIED else Reason.TRANSFER
    return Failed(reason, Detail(code=code, at=Place.HOST, numbers=numbers))


def unverified(message: bytes, key: dns.tsig.Key, now: int) -> Detail:
    """Return why the signature of an answer does not count."""
    found = tsig_of(message)
    if found is None:
        return Detail(code=Code.TSIG_NONE, at=Place.HOST)
    if found.algorithm != key.algorithm:
        return Detail(code=Code.TSIG_ALGORITHM, at=Place.HOST)
    if abs(found.time_signed - now) > found.fudge:
        return clock(found.time_signed - now)
    return Detail(code=Code.TSIG_WRONG, at=Place.HOST)


def clock(ahead: int) -> Detail:
    """Return the detail of a primary's clock that is `ahead` of this host's by so many seconds, or behind it."""
    code = Code.CLOCK_AHEAD if ahead >= 0 else Code.CLOCK_BEHIND
    return Detail(code=code, at=Place.HOST, numbers=(abs(ahead),))


def tsig_of(message: bytes) -> _Tsig | None:
    """Return the TSIG record of a message, not verified; None if it has none, or is malformed."""
    try:
        parser = dns.wire.Parser(message, 4)
        questions, *others = parser.get_struct("!HHHH")
        for _ in range(questions):
            parser.get_name(decompress=True)
            parser.get_bytes(4)
        for _ in range(sum(others)):
            parser.get_name(decompress=True)
            kind, rdclass, _ttl, size = parser.get_struct("!HHIH")
            if kind == dns.rdatatype.TSIG and rdclass == dns.rdataclass.ANY:
                with parser.restrict_to(size):
                    record = dns.rdata.from_wire_parser(rdclass, kind, parser)
                return record if isinstance(record, _Tsig) else None
            parser.get_bytes(size)
    except (dns.exception.DNSException, ValueError):
        return None
    return None
