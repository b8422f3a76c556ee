"""Our policy as an Unbound Python module, before the modules that resolve: it judges misses, and what resolves them.

deploy/unbound/blocklist.py starts it inside Unbound, whose own `unboundmodule` it hands in.

Rules:
- Block before resolving, recheck before the answer is given: the name is judged before the next module sees it
  (MODULE_EVENT_NEW), the whole reply when that module is done (MODULE_EVENT_MODDONE).
- Unbound answers from its cache without asking a module, at its own speed. So nothing may be in the cache that is not
  PASS for all clients: an answer that blocks is never stored, and a question or a reply that is not PASS for all lists
  is resolved without storing (`no_cache_store`) or taken out before it is given.
- Unbound keeps each step of a chain of aliases as an answer of its own, under the name that the alias leads to, and
  keeps no answer with a TTL of 0. So with an answer these names are remembered, and taken out, too.
- When a policy comes, cached answers that it blocks are taken out, in slices, by the queries that come after it
  (plugin.remembered). A synthetic name is not answered before all of them are out: so the proof of a list, and its
  receipt, mean that nothing cached is left.
- A question that has no client (Unbound asks for an address of a name server, a validator for keys, a prefetch) is
  resolved; it is stored only if all lists pass it.
- An error in a step is SERVFAIL, never a pass. What blocked is counted by the service (plugin.blocks).
- Unbound's threads share one interpreter. A lock is held while a query is judged, since what core uses is used again.
"""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from resolver.core import codes
from resolver.plugin import blocks
from resolver.plugin import folder as plugin_folder
from resolver.plugin.blocks import client_of
from resolver.plugin.followed import Followed
from resolver.plugin.judge import Blocked, Judge, Record, is_synthetic
from resolver.plugin.remembered import MOST, Remembered

SLICE_S: Final = 0.002
PROOF_SLICE_S: Final = 0.05
"""Time that a query spends on cached answers after a policy came, in seconds; that of a synthetic name."""
KEY_OCTETS: Final = 16
KEY_CLOSED: Final = 0o007
"""Bits of its mode that the file of the key must not have."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_INDETERMINATE: Final = 2
"""The security status (sec_status) of an answer of ours: neither validated nor bogus, so AD is clear."""
MOST_REPLY: Final = 4096
"""Octets of a reply that is remembered; a larger one is given and not cached, since its client has chosen its size."""
_TARGETS: Final = frozenset((codes.TYPE_CNAME, codes.TYPE_DNAME, codes.TYPE_SVCB, codes.TYPE_HTTPS))
_CD: Final = 0x0010
_LENGTH_OCTETS: Final = 2
_ASK, _PASS, _BLOCK = codes.ASK, codes.PASS, codes.BLOCK


class Module:
    """The functions that Unbound calls. ub: Unbound's `unboundmodule`. folder: the service's [plugin] folder.

    key: the file of the digest key. remembered: how many cached answers can be taken out at once; Unbound's message
    cache should hold fewer. clock: seconds, monotonic.
    """

    def __init__(
        self,
        ub: Any,
        folder: Path,
        key: Path,
        *,
        remembered: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ub = ub
        self._folder = folder
        self._key = key
        self._clock = clock
        self._to = os.fspath(folder / plugin_folder.BLOCKS)
        self._lock = threading.Lock()
        self._judge = Judge()
        self._answers = Remembered(self._leaves_the_cache, remembered)
        self._followed: Followed | None = None
        self._socket: socket.socket | None = None
        self._lost = [0] * codes.MAX_LISTS
        self._unsent = b""

    # What Unbound calls; its names.

    def init_standard(self, number: int, env: Any) -> bool:
        """Read the key and the policy; Unbound does not start if the key cannot be used."""
        del number, env
        key = self._key.read_bytes()
        if len(key) != KEY_OCTETS or self._key.stat().st_mode & KEY_CLOSED:
            raise ValueError(f"{self._key}: expected {KEY_OCTETS} octets, closed to all others; chmod o= it")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._followed = Followed(self._folder, key, self._ub.log_err)
        self._look(at_once=True)
        return True

    def deinit(self, number: int) -> bool:
        """Close what was opened."""
        del number
        if self._socket is not None:
            self._socket.close()
        return True

    def inform_super(self, number: int, qstate: Any, superqstate: Any, qdata: Any) -> bool:
        """Do nothing: no query of ours waits for another."""
        del number, qstate, superqstate, qdata
        return True

    def operate(self, number: int, event: int, qstate: Any, qdata: Any) -> bool:
        """Take the next step of a query."""
        del qdata
        ub = self._ub
        try:
            with self._lock:
                if event in (ub.MODULE_EVENT_NEW, ub.MODULE_EVENT_PASS):
                    self._new(number, qstate)
                elif event == ub.MODULE_EVENT_MODDONE:
                    self._done(number, qstate)
                else:
                    qstate.ext_state[number] = ub.MODULE_ERROR
        except Exception as error:  # noqa: BLE001 - an error is SERVFAIL, and its text may hold a name
            ub.log_err(f"blocklist: a step failed ({type(error).__name__}): the query is answered SERVFAIL")
            if event == ub.MODULE_EVENT_MODDONE:
                # The next module has stored the answer, which was not judged to the end.
                with suppress(Exception):
                    self._forget(qstate, _steps(qstate.return_msg.rep))
            self._fail(number, qstate, codes.EDE_OTHER)
        return True

    # The steps.

    def _new(self, number: int, qstate: Any) -> None:
        """Judge a question before it is resolved."""
        ub, question = self._ub, qstate.qinfo
        name, qtype = question.qname, question.qtype
        synthetic = is_synthetic(name)
        self._look(at_once=synthetic)
        if self._answers.pending:
            self._take_out(qstate, PROOF_SLICE_S if synthetic else SLICE_S)
        first = next(_clients(qstate), None)
        if question.qclass != codes.CLASS_IN:
            qstate.return_rcode = codes.REFUSED
            qstate.ext_state[number] = ub.MODULE_FINISHED
            return
        said = self._judge.question(name, qtype, codes.ALL_LISTS)
        if said != _PASS:
            qstate.no_cache_store = 1
        if first is not None:
            if said == _BLOCK:
                said = self._judge.question(name, qtype, self._judge.scope_of(first))
            if synthetic and (said != _BLOCK or self._answers.pending):
                # Not resolved, so that Unbound does not keep that the name of a coming list does not exist.
                self._fail(number, qstate, codes.EDE_NOT_READY)
                return
            if said == _BLOCK:
                self._block(number, qstate, name, qtype, [first])
                return
            if said == _ASK:
                self._fail(number, qstate, codes.EDE_NOT_READY)
                return
        qstate.ext_state[number] = ub.MODULE_WAIT_MODULE

    def _done(self, number: int, qstate: Any) -> None:
        """Judge what the next module has found, for all clients that wait for it."""
        ub, message = self._ub, qstate.return_msg
        clients = list(_clients(qstate))
        qstate.ext_state[number] = ub.MODULE_FINISHED
        if message is None or message.rep is None or qstate.return_rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return
        question = qstate.qinfo
        name, qtype = question.qname, question.qtype
        wire, more = _wire_of(name, qtype, message.rep)
        steps = _steps(message.rep)
        said = self._judge.reply(wire, codes.ALL_LISTS)
        if said == _PASS and self._judge.drops_additional:
            message.rep.ar_numrrsets = 0
            message.rep.rrset_count = message.rep.an_numrrsets + message.rep.ns_numrrsets
            # In the cache it has ADDITIONAL still.
            self._forget(qstate, steps)
            return
        if said == _PASS and more and len(wire) > MOST_REPLY:
            self._forget(qstate, steps)
            return
        if said == _PASS:
            if not qstate.no_cache_store:
                self._answers.keep(name, qtype, wire if more else b"")
                for one in steps:
                    self._answers.keep(one, qtype, b"")
            return
        self._forget(qstate, steps)
        if not clients:
            return
        blocked = [one for one in clients if self._judge.reply(wire, self._judge.scope_of(one)) != _PASS]
        if not blocked:
            return
        # Unbound has one answer for all who wait: what one of them may not have, none gets.
        if self._judge.reply(wire, self._judge.scope_of(blocked[0])) == _BLOCK:
            self._block(number, qstate, name, qtype, blocked)
        else:
            self._fail(number, qstate, codes.EDE_NOT_READY)

    # What they are made of.

    def _look(self, *, at_once: bool = False) -> None:
        if self._followed is not None and self._followed.look(self._clock(), at_once=at_once):
            self._judge.policy = self._followed.policy
            self._answers.judge_again()

    def _leaves_the_cache(self, name: bytes, qtype: int, reply: bytes) -> bool:
        if reply:
            return self._judge.reply(reply, codes.ALL_LISTS) != _PASS
        return self._judge.question(name, qtype, codes.ALL_LISTS) != _PASS

    def _take_out(self, qstate: Any, seconds: float) -> None:
        """Take answers that the newest policy blocks out of Unbound's cache, for so many seconds."""
        for one in self._answers.take(self._clock() + seconds, self._clock):
            self._take_one_out(qstate, one.name, one.qtype)

    def _take_one_out(self, qstate: Any, name: bytes, qtype: int) -> None:
        message, given = self._ub.DNSMessage(_text(name), qtype, codes.CLASS_IN, self._ub.PKT_QR), qstate.return_msg
        # Unbound makes no query_info for a module; that of a reply is one.
        if message.set_return_msg(qstate):
            self._invalidate(qstate, qstate.return_msg.qinfo)
        qstate.return_msg = given

    def _forget(self, qstate: Any, steps: Sequence[bytes] = ()) -> None:
        """Take the answers that this query has stored, if it has, out of Unbound's cache. steps: of `_steps`."""
        # Unbound logs if it is asked to take out what is not there, which should say as little of blocks as can be.
        if not qstate.no_cache_store:
            self._ub.invalidateQueryInCache(qstate, qstate.qinfo)
            for one in steps:
                self._take_one_out(qstate, one, qstate.qinfo.qtype)

    def _invalidate(self, qstate: Any, question: Any) -> None:
        """Take an answer out of Unbound's cache, which keeps AAAA for CD=0 and CD=1 apart."""
        flags = qstate.query_flags
        self._ub.invalidateQueryInCache(qstate, question)
        if question.qtype == codes.TYPE_AAAA:
            qstate.query_flags = flags ^ _CD
            self._ub.invalidateQueryInCache(qstate, question)
            qstate.query_flags = flags

    def _block(self, number: int, qstate: Any, name: bytes, qtype: int, clients: list[bytes]) -> None:
        """Answer by the list that blocked last, and send the service a block for each client."""
        blocked = self._judge.blocked(name, qtype, _empty_options(qstate))
        if blocked is None or not self._answer(qstate, name, qtype, blocked):
            self._fail(number, qstate, codes.EDE_OTHER)
            return
        qstate.ext_state[number] = self._ub.MODULE_FINISHED
        for client in clients:
            self._tell(qtype, client)

    def _answer(self, qstate: Any, name: bytes, qtype: int, blocked: Blocked) -> bool:
        ub, text = self._ub, _text(name)
        message = ub.DNSMessage(text, qtype, codes.CLASS_IN, ub.PKT_QR | ub.PKT_RA)
        message.answer.extend(_line(text, one) for one in blocked.answers)
        message.authority.extend(_line(text, one) for one in blocked.authorities)
        if not message.set_return_msg(qstate):
            return False
        reply = qstate.return_msg.rep
        reply.security = _INDETERMINATE
        reply.flags = reply.flags | blocked.rcode
        qstate.return_rcode = codes.NOERROR
        for error in blocked.errors:
            self._add_error(qstate, error)
        return True

    def _fail(self, number: int, qstate: Any, ede: int) -> None:
        """Answer SERVFAIL with an extended error, and store nothing."""
        qstate.no_cache_store = 1
        qstate.return_rcode = codes.SERVFAIL
        qstate.ext_state[number] = self._ub.MODULE_FINISHED
        self._add_error(qstate, ede.to_bytes(2, "big"))

    def _add_error(self, qstate: Any, error: bytes) -> None:
        self._ub.edns_opt_list_append(qstate.edns_opts_front_out, 15, bytearray(error), qstate.region)

    def _tell(self, qtype: int, client: bytes) -> None:
        """Send the service a block; what its socket does not take now goes with the next one."""
        slot = self._judge.slot
        block = self._judge.block(qtype, client_of(client), self._lost[slot])
        if not block or self._socket is None:
            return
        if len(self._unsent) >= blocks.MOST * blocks.OCTETS:
            self._lost[slot] += 1
        else:
            self._unsent += block
            self._lost[slot] = 0
        with suppress(OSError):
            self._socket.sendto(self._unsent, self._to)
            self._unsent = b""


def _clients(qstate: Any) -> Iterator[bytes]:
    """Yield the address, 16 octets, of each client that waits for a query; none for a question of Unbound's own."""
    waiting = qstate.mesh_info.reply_list
    while waiting is not None:
        address = bytes(waiting.query_reply._addr.raw_addr)
        yield address if len(address) == 16 else bytes(10) + b"\xff\xff" + address
        waiting = waiting.next


def _empty_options(qstate: Any) -> set[int]:
    """Return the options without data of the client's query; none if several clients wait for one answer."""
    waiting = qstate.mesh_info.reply_list
    if waiting is None or waiting.next is not None:
        return set()
    return {int(one.code) for one in qstate.edns_opts_front_in_iter if not one.data}


def _text(name: bytes) -> str:
    """Return a wire-format name as text in which only letters, digits, - and _ stand for themselves (RFC 1035 5.1)."""
    labels, at = [], 0
    while name[at]:
        label = name[at + 1 : at + 1 + name[at]].decode("latin-1")
        labels.append(label if _PLAIN(label) else _ODD.sub(lambda found: f"\\{ord(found[0]):03d}", label))
        at += 1 + name[at]
    return ".".join(labels) + "."


def _line(owner: str, one: Record) -> str:
    """Return a record in the form of RFC 3597 5."""
    return f"{owner} {one.ttl_s} IN TYPE{one.kind} \\# {len(one.rdata)} {one.rdata.hex()}"


def _steps(reply: Any) -> list[bytes]:
    """Return the names to which the aliases in ANSWER lead: Unbound has asked, and cached, each by itself."""
    found: dict[bytes, None] = {}
    for number in range(reply.an_numrrsets):
        rrset = reply.rrsets[number]
        if socket.ntohs(rrset.rk.type) == codes.TYPE_CNAME:
            data = rrset.entry.data
            values, plain = data.rr_data, data.count
            for one in range(plain):
                found[bytes(values[one][_LENGTH_OCTETS:]).lower()] = None
    return [*found]


def _wire_of(name: bytes, qtype: int, reply: Any) -> tuple[bytes, bool]:
    """Return a reply of Unbound's in wire format, and whether ANSWER has more names than the question's to judge."""
    counts = reply.an_numrrsets, reply.ns_numrrsets, reply.ar_numrrsets
    own, more, at = name.lower(), False, 0
    parts, records = [name, qtype.to_bytes(2, "big"), b"\0\1"], []
    for section, count in enumerate(counts):
        written = 0
        for number in range(at, at + count):
            rrset = reply.rrsets[number]
            owner, kind = rrset.rk.dname, socket.ntohs(rrset.rk.type)
            if section == 0 and (kind in _TARGETS or owner.lower() != own):
                more = True
            data = rrset.entry.data
            values, plain = data.rr_data, data.count
            for one in range(plain + data.rrsig_count):
                kind_of = kind if one < plain else codes.TYPE_RRSIG
                parts.append(owner + kind_of.to_bytes(2, "big") + b"\0\1\0\0\0\0" + values[one])
                written += 1
        records.append(written.to_bytes(2, "big"))
        at += count
    return b"\0\0\x81\x80\0\1" + b"".join(records) + b"".join(parts), more
