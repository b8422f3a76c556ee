# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""The order of the steps of every query, over every transport, for Python and for the engine. Read this first.

Rules:
- Block before cache, recheck before keep: the name is judged before the cache is read, and an upstream's answer before
  it is kept or sent. Any other order lets listed names pass.
- What is never answered from the cache or an upstream (RD=0, a class other than IN) is refused before the verdict, for
  listed and unlisted names alike: it cannot be used to find out what is listed.
- A query ends in one of four outcomes: a reply, silence, FORWARD (an upstream has to be asked) or ASK. An error in a
  step is ASK, never a pass; if nobody is left to ask, ASK is SERVFAIL (`unasked`). It is counted.
- `take` does all that needs no waiting. `take_batch` does the same for many queries, a stage for all of them before the
  next stage of any: what a stage reads from memory, the one before has asked for. The only difference between the two:
  an answer that is asked for twice in a batch and not kept is found missing twice.
- `give` does what an upstream's reply gets for each query that waits, `keep` once for an exchange, `without` if no
  upstream answered. Each judges the name again: lists may have come while the upstream was asked.
- A stale answer is given only if no upstream answers in time (RFC 8767), and is judged like any other.
- A count or a note that fails stops no answer: they come last, once the outcome is set.
"""

import cython

from . import codes
from .image import SELFTEST_ZONE
from .lane import Seat
from .policy import Verdict
from .store import FAILURE, FRESH, NOTHING, STALE

if not cython.compiled:
    from . import respond
    from .admit import _scope, admission, is_unlimited, set_prefix
    from .cache import (
        count,
        ede_option,
        find,
        is_judged,
        judged_again,
        keep_answer,
        keep_failure,
        keep_silence,
        key,
        lend,
        other,
    )
    from .crash_shape import reply as note_for_crash
    from .judgement import fill, judge
    from .local_zones import find as find_local
    from .name import spells
    from .policy import answer_nogil, decide_ready, prepare
    from .reading import read_query
    from .sketch import _note
    from .store import prefetch_index, prefetch_record
    from .tally import attempt, count_ready
    from .tally import prefetch as prefetch_attempt

_SILENT = codes.OUTCOME_SILENT
_REPLY = codes.OUTCOME_REPLY
_FORWARD = codes.OUTCOME_FORWARD
_ASK = codes.OUTCOME_ASK
# Stages of a query. A batch goes through READ, JUDGE, FETCH and FINISH; a seat is DONE once nothing is left to do.
_DONE = 0
_READ = 1
_JUDGE = 2
_BLOCKED = 3
_LOOK = 4
_STAGES = 4
_ERROR = -1
_COUNTING = 5
_NOTING = 6
_ADMITTED = codes.ADMITTED
_SILENT_SHORT = codes.SILENT_SHORT
_SILENT_RESPONSE = codes.SILENT_RESPONSE
_WELL_FORMED = codes.WELL_FORMED
_BAD_OPCODE = codes.BAD_OPCODE
_NOTIFY = 4
_IN = codes.CLASS_IN
_ANY = codes.TYPE_ANY
_RD = 0x0100
_HEADER = 12
_PASS = codes.PASS
_BLOCK = codes.BLOCK
_ASKS = codes.ASK
_ALL_LISTS = codes.ALL_LISTS
_NOT_LOCAL = codes.NOT_LOCAL
_NOTHING = NOTHING
_FRESH = FRESH
_STALE = STALE
_FAILURE = FAILURE
_BEYOND_BUDGET = codes.BEYOND_BUDGET
_NOERROR = codes.NOERROR
_NXDOMAIN = codes.NXDOMAIN
_YXDOMAIN = codes.YXDOMAIN
_SERVFAIL = codes.SERVFAIL
_BADVERS = codes.BADVERS
_EDE_OTHER = codes.EDE_OTHER
_EDE_NOT_READY = codes.EDE_NOT_READY
_EDE_INVALID_DATA = codes.EDE_INVALID_DATA
_EDE_NETWORK_ERROR = codes.EDE_NETWORK_ERROR
_NOT_READY = codes.FAILED_NOT_READY
_UPSTREAM = codes.FAILED_UPSTREAM
_MALFORMED_REPLY = codes.FAILED_MALFORMED_REPLY
_INTERNAL = codes.FAILED_INTERNAL
_END_NOTICE = codes.END_NOTICE
_END_BLOCKED = codes.END_BLOCKED
_END_LEADS = codes.END_LEADS
_END_KEPT = codes.END_KEPT
_END_STALE = codes.END_STALE
_END_FRESH = codes.END_FRESH
_SECOND_MS = 1000
_QUERIES = codes.counter("queries_total", "udp")
# Where COOKIE_* of core.codes are counted, from COOKIE_NEW on.
_COOKIES = codes.counter("cookies_total", "new") - codes.COOKIE_NEW
_ADDRESS = 16
_ZONE = memoryview(SELFTEST_ZONE)
_ZONE_OCTETS = len(SELFTEST_ZONE)


def take(tables, lane, seat, now_ms):
    """Do all that a query needs without waiting, at `now_ms` of a monotonic clock; return the outcome."""
    try:
        _read(tables, lane, seat, now_ms)
        if seat.stage == _JUDGE:
            _judge(tables, lane, seat)
        _finish(tables, lane, seat, now_ms)
    except Exception:  # noqa: BLE001 - an error asks
        _failed(lane, seat)
    return seat.outcome


def resume(tables, lane, seat, outcome, now_ms):
    """Take a query that another thread has admitted and counted, with this outcome; return the outcome.

    It is judged and looked up again: lists may have come, and an answer. seat.found: of OUTCOME_ASK, what that thread
    said. One that has its answer (OUTCOME_REPLY) is only to be fetched again.
    """
    try:
        _resume(tables, lane, seat, outcome, now_ms)
    except Exception:  # noqa: BLE001 - an error asks
        _failed(lane, seat)
    return seat.outcome


def take_batch(tables, lane, count, now_ms):
    """Take the queries of the first `count` seats. Returns 0.

    An error is raised, and lane.at is its seat: call `pass_over`, which needs the GIL as raising did, then this again
    with the same arguments: it goes on.
    """
    if lane.stage == _DONE:
        lane.stage = _READ
        lane.at = 0
    while lane.stage <= _STAGES:
        while lane.at < count:
            _stage(tables, lane, cython.cast(Seat, lane.seats[lane.at]), now_ms)
            lane.at = lane.at + 1
        lane.stage = lane.stage + 1
        lane.at = 0
    lane.stage = _DONE
    return 0


def pass_over(lane):
    """Leave the seat at which a batch failed: its outcome is ASK, unless it was set before. Returns 0."""
    _failed(lane, lane.seat(lane.at))
    lane.at = lane.at + 1
    return 0


def take_whole(tables, lane, count, now_ms):
    """Take the queries of the first `count` seats, and pass over those that fail. Returns 0."""
    done = 0
    while not done:
        try:
            done = take_batch(tables, lane, count, now_ms) == 0
        except Exception:  # noqa: BLE001 - an error asks
            pass_over(lane)
    return 0


def unasked(lane, seat):
    """Answer a query with outcome ASK that nobody took: as its admission and its problem want it, else SERVFAIL."""
    try:
        if seat.found == _ERROR:
            # It may not have been admitted.
            seat.limit = min(seat.limit, max(seat.size, _HEADER))
            return _give_up(lane, seat, _EDE_OTHER, _INTERNAL)
        if seat.found != _ADMITTED:
            seat.admitted = seat.found
            respond.turned_away(lane, seat)
        else:
            respond.malformed(lane, seat)
    except Exception:  # noqa: BLE001 - what cannot be written is not sent
        seat.outcome = _SILENT
    return seat.outcome


def give_up(lane, seat, ede, reason):
    """Answer with SERVFAIL, an extended error and a counted reason (FAILED_* of core.codes); return the outcome."""
    try:
        return _give_up(lane, seat, ede, reason)
    except Exception:  # noqa: BLE001 - what cannot be written is not sent
        seat.outcome = _SILENT
    return seat.outcome


def give(tables, lane, seat, one, now_ms):
    """Answer a query that waited for the reply of which `one` is the Judgement; return the outcome."""
    try:
        _give(tables, lane, seat, one, now_ms // _SECOND_MS)
    except Exception:  # noqa: BLE001 - nobody is left to ask
        _failed(lane, seat)
        if seat.outcome == _ASK:
            unasked(lane, seat)
    return seat.outcome


def without(tables, lane, seat, ede, reason, now_ms):
    """Answer a query that no upstream answered: with what is kept by now, else with SERVFAIL; return the outcome."""
    try:
        _without(tables, lane, seat, ede, reason, now_ms // _SECOND_MS)
    except Exception:  # noqa: BLE001 - nobody is left to ask
        _failed(lane, seat)
        if seat.outcome == _ASK:
            unasked(lane, seat)
    return seat.outcome


def stale(tables, lane, seat, now_ms):
    """Answer a query, just taken, whose servers are all out with what is kept; return the outcome, FORWARD for nothing.

    Nobody is there to wait for, and probes find a server that returns.
    """
    try:
        found = _kept_by_now(tables, lane, seat, now_ms // _SECOND_MS)
        if found != _NOTHING:
            _give_kept(tables, lane, seat, found, now_ms // _SECOND_MS)
    except Exception:  # noqa: BLE001 - nobody is left to ask
        _failed(lane, seat)
        if seat.outcome == _ASK:
            unasked(lane, seat)
    return seat.outcome


def keep(tables, lane, one, asked, low, high, client, now_ms):
    """Keep the reply of an exchange for the question `asked` (its octets in a message), judged by all lists. Returns 0.

    one: its Judgement. low, high: the key of the question. client: who caused the exchange.
    """
    try:
        return _keep(tables, lane, one, asked, low, high, client, now_ms // _SECOND_MS)
    except Exception:  # noqa: BLE001 - an error keeps nothing
        lane.errors += 1
    return 0


def keep_failed(tables, lane, ede, asked, low, high, client, now_ms):
    """Keep that an exchange failed, with this extended error; the other arguments are those of `keep`. Returns 0."""
    try:
        pays = not is_unlimited(tables.access, client)
        return keep_silence(tables, lane, asked, ede, low, high, client, pays, now_ms // _SECOND_MS)
    except Exception:  # noqa: BLE001 - an error keeps nothing
        lane.errors += 1
    return 0


def _failed(lane, seat):
    """Set the outcome of a query in whose steps an error was raised. Returns 0."""
    stage = seat.stage
    seat.stage = _DONE
    if stage == _NOTING:
        return 0
    if stage == _COUNTING:
        return respond.sent(lane, seat, seat.length)
    lane.errors += 1
    seat.outcome = _ASK
    seat.found = _ERROR
    seat.length = 0
    seat.refresh = 0
    return 0


# The stages.


def _stage(tables, lane, seat, now_ms):
    """Let a seat take part in the batch's stage. Returns 0."""
    if lane.stage == _READ:
        return _read(tables, lane, seat, now_ms)
    if lane.stage == _JUDGE:
        return _judge(tables, lane, seat) if seat.stage == _JUDGE else 0
    if lane.stage == _STAGES:
        return _finish(tables, lane, seat, now_ms)
    return _fetch(tables, lane, seat) if seat.stage == _LOOK else 0


def _read(tables, lane, seat, now_ms):
    """Read the question, admit the client, and refuse what is neither looked up nor forwarded. Returns 0."""
    seat.stage = _READ
    seat.resumed = 0
    lane.counters[_QUERIES + seat.transport] = lane.counters[_QUERIES + seat.transport] + 1
    read_query(tables, lane, seat, now_ms)
    if seat.cookie:
        lane.counters[_COOKIES + seat.cookie] = lane.counters[_COOKIES + seat.cookie] + 1
    if seat.problem == _SILENT_SHORT or seat.problem == _SILENT_RESPONSE:
        respond.silence(lane, seat)
    elif _is_to_judge(tables, lane, seat, now_ms):
        prepare(tables.generation, seat.question.name)
        seat.stage = _JUDGE
        return 0
    seat.stage = _DONE
    return 0


def _is_to_judge(tables, lane, seat, now_ms):
    """Return whether the question goes on to the lists; else it has its answer, or its outcome is ASK."""
    seat.admitted = admission(tables.access, seat.client, seat.proven, now_ms, lane.scratch)
    admitted = seat.admitted == _ADMITTED
    if not admitted and seat.problem == _WELL_FORMED:
        admitted = _is_proof(tables, seat)
    if seat.problem == _BAD_OPCODE and (seat.packet[2] >> 3 & 15) == _NOTIFY:
        # From a list's primary, perhaps, which need not be in the ACL.
        seat.outcome = _ASK
        seat.reason = _END_NOTICE
        seat.found = seat.admitted
        return 0
    if not admitted:
        return respond.turned_away(lane, seat)
    seat.who_low = lane.scratch.who[0]
    seat.who_high = lane.scratch.who[1]
    if seat.problem != _WELL_FORMED:
        return respond.malformed(lane, seat)
    if seat.question.qclass != _IN:
        return respond.refused(lane, seat)
    if seat.question.flags & _RD:
        return 1
    # Neither the lists nor the cache are asked: the cache would show what others asked (cache snooping), and the lists
    # what is listed, without an attempt.
    found = find_local(tables.zones, seat.question.name, seat.question.qtype)
    if found == _NOT_LOCAL:
        return respond.refused(lane, seat)
    return respond.local(tables.zones, lane, seat, found)


def _judge(tables, lane, seat):
    """Judge the name; a name that passes is answered here if it is local, or asked for ANY. Returns 0."""
    if not _verdict(tables, lane, seat):
        seat.stage = _BLOCKED
        return 0
    found = find_local(tables.zones, seat.question.name, seat.question.qtype)
    if found == _NOT_LOCAL and seat.question.qtype != _ANY:
        key(tables, lane, seat)
        prefetch_index(tables.store, lane.scratch)
        seat.stage = _LOOK
        return 0
    if found != _NOT_LOCAL:
        respond.local(tables.zones, lane, seat, found)
    else:
        respond.any_type(lane, seat)
    seat.stage = _DONE
    return 0


def _fetch(tables, lane, seat):
    """Ask the memory for the answer that is kept, if one is. Returns 0."""
    lane.scratch.key[0] = seat.low
    lane.scratch.key[1] = seat.high
    return prefetch_record(tables.store, lane.scratch)


def _finish(tables, lane, seat, now_ms):
    """Answer a name that did not pass by its list, another from what is kept; else it is to be forwarded. Returns 0."""
    if seat.stage == _BLOCKED:
        _stop(tables, lane, seat, now_ms // _SECOND_MS)
    elif seat.stage == _LOOK:
        _look(tables, lane, seat, now_ms // _SECOND_MS)
        if not seat.resumed:
            seat.stage = _NOTING
            _note_asked(tables, lane, seat, now_ms)
    seat.stage = _DONE
    return 0


def _resume(tables, lane, seat, outcome, now_ms):
    read_query(tables, lane, seat, now_ms)
    seat.resumed = 1
    seat.outcome = outcome
    if outcome == _REPLY:
        seat.refresh = 1
        return key(tables, lane, seat)
    if outcome != _FORWARD or seat.problem != _WELL_FORMED:
        return 0
    prepare(tables.generation, seat.question.name)
    _judge(tables, lane, seat)
    return _finish(tables, lane, seat, now_ms)


# The parts of the stages.


def _is_proof(tables, seat):
    """Return whether this host itself asks for the synthetic name of an image."""
    at = 0
    while at + _ADDRESS <= tables.own.shape[0]:
        if _is_own(tables.own, at, seat.client):
            start = 1 + seat.question.name.octets[0]
            size = seat.question.name.length - start
            # Exactly one label before the zone: a label may itself contain the octets of the zone.
            return size == _ZONE_OCTETS and spells(seat.question.name, start, _ZONE, 0, size)
        at += _ADDRESS
    return 0


def _is_own(own, at, client):
    i = 0
    while i < _ADDRESS:
        if own[at + i] != client[i]:
            return 0
        i += 1
    return 1


def _verdict(tables, lane, seat):
    """Judge a prepared name by the lists that apply to the client; only an explicit PASS by complete tables passes."""
    if tables.access.scoped and _is_proof(tables, seat):
        seat.scope = _ALL_LISTS
    else:
        seat.scope = _scope(tables.access, seat.client)
    decide_ready(tables.generation, seat.question.name, seat.scope, seat.verdict, seat.question.qtype)
    lane.errors += seat.verdict.errors
    seat.verdict.errors = 0
    if seat.verdict.verdict != _BLOCK:
        return seat.verdict.verdict == _PASS and tables.complete
    seat.tag = attempt(tables.tally, seat.verdict, seat.question.qtype, seat.client, lane.scratch)
    prefetch_attempt(tables.tally, seat.tag)
    return 0


def _passes(tables, lane, seat):
    """Do the same for a name that a generation before this one may have judged."""
    prepare(tables.generation, seat.question.name)
    return _verdict(tables, lane, seat)


def _stop(tables, lane, seat, now_s):
    """Answer a query whose name did not pass. Returns 0."""
    if seat.verdict.verdict == _BLOCK:
        seat.reason = _END_BLOCKED
        return _block(tables, lane, seat, seat.verdict, seat.tag, now_s)
    if seat.verdict.verdict != _PASS:
        return respond.failed(lane, seat, _EDE_OTHER, _INTERNAL)
    return respond.failed(lane, seat, _EDE_NOT_READY, _NOT_READY)


def _block(tables, lane, seat, verdict, tag, now_s):
    """Answer by the list that blocks, and count; refuse beyond the client's budget of different entries. Returns 0.

    SERVFAIL if the answer cannot be written, never the upstream's.
    """
    length = answer_nogil(tables.generation, verdict, seat.out, seat.packet, seat.question, seat.limit)
    if length == 0:
        return respond.failed(lane, seat, _EDE_OTHER, _INTERNAL)
    seat.slot = verdict.slot
    seat.length = length
    seat.stage = _COUNTING
    counted = count_ready(
        tables.tally, tables.access, lane.counters, verdict, tag, seat.client, now_s, lane.scratch
    )
    seat.stage = _DONE
    if counted == _BEYOND_BUDGET:
        return respond.beyond_budget(lane, seat)
    return respond.sent(lane, seat, length)


def _look(tables, lane, seat, now_s):
    """Answer from the cache: a fresh answer; another form's; a stale one that is quiet; else FORWARD. Returns 0."""
    found = find(tables, lane, seat, now_s)
    if found == _FRESH and not lane.kept.kind & _FAILURE:
        seat.refresh = lane.kept.hot
        return _give_kept(tables, lane, seat, _FRESH, now_s)
    served = other(tables, lane, seat, now_s)
    if served == _FRESH and lend(tables, lane, seat, _FRESH, now_s) != _NOTHING:
        return _give_kept(tables, lane, seat, _FRESH, now_s)
    if found == _FRESH:
        # A failure: better an answer that may be given while nobody answers.
        if served != _NOTHING:
            served = lend(tables, lane, seat, _STALE, now_s)
        return _give_kept(tables, lane, seat, served if served != _NOTHING else _FRESH, now_s)
    if found == _STALE and lane.kept.quiet:
        return _give_kept(tables, lane, seat, _STALE, now_s)
    seat.found = _STALE if found != _NOTHING or served != _NOTHING else _NOTHING
    seat.outcome = _FORWARD
    return 0


def _give_kept(tables, lane, seat, found, now_s):
    """Answer with what lane.kept describes, judged by the lists now in force. Returns 0."""
    count(lane, found)
    seat.reason = _END_STALE if found == _STALE else _END_KEPT
    if not is_judged(lane, tables.generation.number):
        fill(lane.judgement, lane.kept.data, lane.kept.start, lane.kept.end)
        said = _say(tables, lane, lane.judgement, seat.scope)
        if lane.judgement.for_all == _ASKS:
            return respond.failed(lane, seat, _EDE_OTHER, _INTERNAL)
        if said == _BLOCK:
            return _block_by(tables, lane, seat, lane.judgement, now_s)
        if not lane.judgement.message.drop_additional:
            judged_again(tables, lane, lane.judgement.for_all)
        lane.kept.data = lane.judgement.message.data
        lane.kept.start = lane.judgement.message.start
        lane.kept.end = lane.judgement.message.end
    if lane.kept.kind & _FAILURE:
        respond.count_failed(lane, _UPSTREAM)
    return respond.kept(lane, seat, found == _STALE)


def _say(tables, lane, one, scope):
    """Return the verdict on a reply for clients of a scope; a verdict that fails is counted."""
    said = judge(one, lane.room, tables.generation, scope)
    lane.errors += lane.room.errors
    lane.room.errors = 0
    return said


def _block_by(tables, lane, seat, one, now_s):
    """Answer by the list that blocks a reply. Returns 0."""
    seat.reason = _END_LEADS
    if one.chosen < 0:
        return _block_reply(tables, lane, seat, one.verdict, now_s)
    return _block_reply(tables, lane, seat, cython.cast(Verdict, one.others[one.chosen]), now_s)


def _block_reply(tables, lane, seat, verdict, now_s):
    tag = attempt(tables.tally, verdict, seat.question.qtype, seat.client, lane.scratch)
    return _block(tables, lane, seat, verdict, tag, now_s)


def _note_asked(tables, lane, seat, now_ms):
    """Note the name for the judgement of lists that come. Returns 0."""
    # Of a batch, another client was admitted last.
    set_prefix(seat.client, lane.scratch.prefix)
    lane.scratch.who[0] = seat.who_low
    lane.scratch.who[1] = seat.who_high
    return _note(tables.asked, tables.access, tables.generation, seat.question.name, now_ms / 1000.0, lane.scratch)


def _give_up(lane, seat, ede, reason):
    respond.failed(lane, seat, ede, reason)
    return seat.outcome


def _give(tables, lane, seat, one, now_s):
    # A swap that happened while the upstream was asked applies to this answer too.
    if not _passes(tables, lane, seat):
        return _stop(tables, lane, seat, now_s)
    note_for_crash(lane.shape, one.reply.shape[0])
    said = _say(tables, lane, one, seat.scope)
    # BADVERS concerns our own EDNS version, never the client's, and we only send version 0.
    if one.for_all == _ASKS or one.message.rcode == _BADVERS:
        return _without(tables, lane, seat, _EDE_INVALID_DATA, _MALFORMED_REPLY, now_s)
    if said == _BLOCK:
        return _block_by(tables, lane, seat, one, now_s)
    if seat.found == _STALE and one.message.rcode != _NOERROR and one.message.rcode != _NXDOMAIN:
        return _without(tables, lane, seat, _EDE_NETWORK_ERROR, _UPSTREAM, now_s)
    count(lane, _NOTHING)
    seat.reason = _END_FRESH
    return respond.fresh(lane, seat, one.message)


def _without(tables, lane, seat, ede, reason, now_s):
    if not _passes(tables, lane, seat):
        return _stop(tables, lane, seat, now_s)
    found = _kept_by_now(tables, lane, seat, now_s)
    if found != _NOTHING:
        return _give_kept(tables, lane, seat, found, now_s)
    count(lane, _NOTHING)
    return respond.failed(lane, seat, ede, reason)


def _kept_by_now(tables, lane, seat, now_s):
    """Find an answer, fresh or stale, of this form or of one that may serve; return FRESH, STALE or NOTHING."""
    found = find(tables, lane, seat, now_s)
    if found == _NOTHING or lane.kept.kind & _FAILURE:
        return lend(tables, lane, seat, _STALE, now_s)
    return found


def _keep(tables, lane, one, asked, low, high, client, now_s):
    pays = not is_unlimited(tables.access, client)
    note_for_crash(lane.shape, one.reply.shape[0])
    _say(tables, lane, one, _ALL_LISTS)
    if one.for_all == _ASKS or one.message.rcode == _BADVERS:
        size = ede_option(lane.option, _EDE_INVALID_DATA)
        return keep_failure(tables, lane, asked, _SERVFAIL, lane.option, size, low, high, client, pays, now_s)
    if one.message.rcode == _NOERROR or one.message.rcode == _NXDOMAIN:
        return keep_answer(tables, lane, one.message, one.for_all, low, high, client, pays, now_s)
    if one.message.rcode == _YXDOMAIN:
        return 0  # An answer, with a DNAME (RFC 6672 2.2), and rare.
    size = one.message.errors_size
    return keep_failure(
        tables, lane, asked, one.message.rcode, one.message.errors, size, low, high, client, pays, now_s
    )
