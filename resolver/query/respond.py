"""Writes the answer for the client: id, EDNS, extended errors, size, truncation; core.reply writes the octets."""

from typing import Any

from resolver.core import codes
from resolver.core.message import Body, Message
from resolver.core.reply import KEEP_TTL, empty, hinfo, local, relay
from resolver.query.cache import Cache
from resolver.query.query import Query
from resolver.query.transport import Transport

STALE_TTL_S = 30

_RCODE_OF_PROBLEM = {
    codes.BAD_OPCODE: codes.NOTIMP,
    codes.BAD_VERSION: codes.BADVERS,
    codes.NOT_SERVED: codes.REFUSED,
}


class Respond:
    """Builds answers and returns them, None if none is to be sent; counts them in the table of core.codes."""

    def __init__(self, counters: Any) -> None:
        self._counters = counters
        self._out = memoryview(bytearray(65536))
        self._first_rcode = codes.counter("answers_total", "NOERROR")
        self._badvers = codes.counter("answers_total", "BADVERS")
        self._other = codes.counter("answers_total", "other")
        self._failed = {reason: codes.counter("failed_answers_total", reason) for reason in codes.FAILED_REASONS}
        self._dropped = {reason: codes.counter("packets_dropped_total", reason) for reason in codes.DROP_REASONS}
        self._received = {label: codes.counter("queries_total", label) for label in codes.TRANSPORTS}

    def received(self, transport: Transport) -> None:
        """Count a query by its transport, before it is read."""
        self._counters[self._received[transport.label]] += 1

    def dropped(self, reason: str) -> None:
        """Count a packet that is not answered."""
        self._counters[self._dropped[reason]] += 1

    def silence(self, problem: int) -> None:
        """Count a packet that must not be answered: too short, or itself a DNS response."""
        self.dropped("short" if problem == codes.SILENT_SHORT else "response")

    def turned_away(self, query: Query, admitted: int) -> bytes | None:
        """Refuse a sender outside the ACL, with an answer no larger than the query; above the limit slip or drop.

        Over a stream refuse above the limit too: silence would look like a lost server until the client's timeout.
        """
        if admitted == codes.NOT_A_CLIENT:
            limit = min(query.limit, max(len(query.packet), 12))
            return self._empty(query, codes.REFUSED, codes.EDE_PROHIBITED, limit=limit)
        if query.transport.is_stream:
            return self._empty(query, codes.REFUSED, codes.EDE_PROHIBITED)
        if admitted == codes.SLIP:
            return self._empty(query, codes.NOERROR, codes.EDE_NONE, truncated=True)
        self.dropped("rate_limit")
        return None

    def malformed(self, query: Query, problem: int) -> bytes | None:
        """Answer a malformed query with the rcode of its problem (core.question)."""
        ede = codes.EDE_INVALID_QUERY_TYPE if problem == codes.BAD_TYPE else codes.EDE_NONE
        return self._empty(query, _RCODE_OF_PROBLEM.get(problem, codes.FORMERR), ede)

    def local(self, query: Query, found: int) -> bytes | None:
        """Answer from a local zone; found: the result of core.local_zones.find."""
        length = local(self._out, query.packet, query.question, found, query.limit)
        return self.sent(self._out, length)

    def any(self, query: Query) -> bytes | None:
        """Answer a query for ANY with a minimal answer (RFC 8482)."""
        return self.sent(self._out, hinfo(self._out, query.packet, query.question, query.limit))

    def refused(self, query: Query) -> bytes | None:
        """Refuse a question that is not blocked and not forwarded (RFC 8914 4.21 for RD=0)."""
        ede = codes.EDE_NONE if query.question.flags & 0x0100 else codes.EDE_NOT_AUTHORITATIVE
        return self._empty(query, codes.REFUSED, ede)

    def failed(self, query: Query, rcode: int, ede: int, reason: str) -> bytes | None:
        """Answer with an error rcode and an extended error, and count the reason."""
        self._counters[self._failed[reason]] += 1
        return self._empty(query, rcode, ede)

    def kept(self, query: Query, cache: Cache, *, stale: bool = False) -> bytes | None:
        """Answer with the answer found last in the cache."""
        ede = codes.EDE_NONE
        if stale:
            ede = codes.EDE_STALE_NXDOMAIN if cache.kept.rcode == codes.NXDOMAIN else codes.EDE_STALE_ANSWER
        if cache.is_failure():
            self._counters[self._failed["upstream"]] += 1
        return self._relay(query, cache.kept, STALE_TTL_S if stale else KEEP_TTL, ede)

    def fresh(self, query: Query, message: Message) -> bytes | None:
        """Answer with a judged and trimmed answer of an upstream."""
        return self._relay(query, message, KEEP_TTL, codes.EDE_NONE)

    def sent(self, out: memoryview, length: int) -> bytes | None:
        """Count the answer out[:length] by its rcode and return it; None if nothing was written."""
        if length == 0:
            return None
        rcode = out[3] & 15
        self._counters[self._first_rcode + rcode if rcode <= codes.REFUSED else self._other] += 1
        return bytes(out[:length])

    def _empty(
        self, query: Query, rcode: int, ede: int, *, truncated: bool = False, limit: int | None = None
    ) -> bytes | None:
        length = empty(
            self._out, query.packet, query.question, rcode, ede, truncated, query.limit if limit is None else limit
        )
        if rcode == codes.BADVERS and length:
            self._counters[self._badvers] += 1
            return bytes(self._out[:length])
        return self.sent(self._out, length)

    def _relay(self, query: Query, body: Body, ttl_s: int, ede: int) -> bytes | None:
        """Write an upstream's answer; ttl_s: as core.reply.relay takes it (STALE_TTL_S: RFC 8767 4)."""
        length = relay(self._out, query.packet, query.question, body, ttl_s, ede, query.limit)
        if length == 0:
            return self.failed(query, codes.SERVFAIL, codes.EDE_OTHER, "internal")
        return self.sent(self._out, length)
