"""Defines the numbers and labels that all rooms share.

Rules:
- A number here is part of a frame between processes, of a saved image or of a metric's label: add, never renumber. Only
  the place of a fixed counter may move: no counter outlives its process, and `counter` finds it.
- `ASK` is zero, so an undecided query asks; only an explicit `PASS` lets a query through.
- No label of a counter comes from a packet: every label is written in this file.
"""

from __future__ import annotations

# Verdicts of core.policy.
ASK = 0
PASS = 1
BLOCK = 2

# Bits of a slot of an image (u16). Each name has one slot; an exception overrides a block of the same scope.
BLOCK_SELF = 1
BLOCK_BELOW = 2
EXCEPT_SELF = 4
EXCEPT_BELOW = 8
NEW = 16
SET_ASIDE = 32
SELFTEST = 64
EXCEPTION_BELOW = 128
IN_USE = 256
SCOPE_BITS = BLOCK_SELF | BLOCK_BELOW | EXCEPT_SELF | EXCEPT_BELOW

MAX_LISTS = 16
# A scope has one bit for each list slot. This one is all lists.
ALL_LISTS = (1 << MAX_LISTS) - 1

# Problems of a query, in the order in which core.question looks for them.
WELL_FORMED = 0
SILENT_SHORT = 1
SILENT_RESPONSE = 2
BAD_OPCODE = 3
BAD_COUNT = 4
BAD_NAME = 5
BAD_RECORD = 6
BAD_OPT = 7
BAD_VERSION = 8
BAD_TYPE = 9
NOT_SERVED = 10
COOKIE_ALONE = 11

# Types (IANA DNS parameters).
TYPE_A = 1
TYPE_NS = 2
TYPE_CNAME = 5
TYPE_SOA = 6
TYPE_PTR = 12
TYPE_HINFO = 13
TYPE_AAAA = 28
TYPE_DNAME = 39
TYPE_OPT = 41
TYPE_DS = 43
TYPE_RRSIG = 46
TYPE_DNSKEY = 48
TYPE_SVCB = 64
TYPE_HTTPS = 65
TYPE_NXNAME = 128
TYPE_TKEY = 249
TYPE_TSIG = 250
TYPE_IXFR = 251
TYPE_MAILA = 254
TYPE_ANY = 255
CLASS_IN = 1

# Response codes (RFC 1035 4.1.1, RFC 6891).
NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
YXDOMAIN = 6
BADVERS = 16
BADCOOKIE = 23

# Extended DNS errors (RFC 8914 4).
EDE_NONE = -1
EDE_OTHER = 0
EDE_STALE_ANSWER = 3
EDE_FORGED_ANSWER = 4
EDE_NOT_READY = 14
EDE_BLOCKED = 15
EDE_CENSORED = 16
EDE_PROHIBITED = 18
EDE_STALE_NXDOMAIN = 19
EDE_NOT_AUTHORITATIVE = 20
EDE_NO_REACHABLE_AUTHORITY = 22
EDE_NETWORK_ERROR = 23
EDE_INVALID_DATA = 24
EDE_INVALID_QUERY_TYPE = 30

# Kinds of local names, found by core.local_zones.
NOT_LOCAL = 0
LOCAL_APEX = 1
LOCAL_EMPTY = 2
LOCAL_MISSING = 3
LOCALHOST = 4
LOOPBACK = 5
LOCAL_DESIGNATED = 6

# Answers of a list (core.reply).
ANSWER_PAGE = 0
ANSWER_NODATA = 1
ANSWER_NXDOMAIN = 2

# Results of core.tally.
NOT_COUNTED = 0
COUNTED = 1
BEYOND_BUDGET = 2

# Results of core.admit.
ADMITTED = 0
NOT_A_CLIENT = 1
SLIP = 2
LIMITED = 3

# Results of core.cookie.
COOKIE_NONE = 0
COOKIE_NEW = 1
COOKIE_GOOD = 2
COOKIE_BAD = 3

# Outcomes of core.steps. An error is OUTCOME_ASK; if nobody is left to ask, it is SERVFAIL.
OUTCOME_SILENT = 0
OUTCOME_REPLY = 1
OUTCOME_FORWARD = 2
OUTCOME_ASK = 3

# Why a query ended as it did, for an operator (core.steps).
END_NONE = 0
END_NO_QUERY = 1
END_NOTICE = 2
END_TURNED_AWAY = 3
END_MALFORMED = 4
END_REFUSED = 5
END_LOCAL = 6
END_ANY = 7
END_BLOCKED = 8
END_LEADS = 9
END_KEPT = 10
END_STALE = 11
END_FRESH = 12
END_FAILED = 13

# Bits of a key in core.store: queries that differ in one of these bits never share an answer.
KEY_DO = 1
KEY_CD = 2

# Transports, in the order of their numbers, and those that an edge receives. Its frames (query.edge_frames): their
# kinds, the octets of a frame's length and of what stands before a message in its body, and the longest frame.
TRANSPORTS = ("udp", "tcp", "dot", "doh", "doq")
UDP, TCP, DOT, DOH, DOQ = range(len(TRANSPORTS))
ENCRYPTED = range(DOT, DOQ + 1)
EDGE_QUERY = 81
EDGE_ANSWER = 65
EDGE_LENGTH_OCTETS = 4
EDGE_QUERY_OCTETS = 4 + 1 + 16
EDGE_ANSWER_OCTETS = 4 + 4
EDGE_MOST_OCTETS = 66_000
EDGE_MAX_AGE_NONE = 0xFFFFFFFF

# The table of counters, one u64 each: first the fixed counters, then a block for each list.
FAILED_REASONS = ("not_ready", "upstream", "overload", "malformed_reply", "internal")
FAILED_NOT_READY, FAILED_UPSTREAM, FAILED_OVERLOAD, FAILED_MALFORMED_REPLY, FAILED_INTERNAL = range(5)
DROP_REASONS = (
    "short",
    "response",
    "rate_limit",
    "port_zero",
    "proxy",
    "connection_limit",
    "not_allowed",
    "overload",
    "unsent",
)
COOKIE_KINDS = ("new", "good", "bad")
CACHE_KINDS = ("positive", "negative", "miss", "stale", "failure")
RCODES = (
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "BADVERS",
    "BADCOOKIE",
    "other",
)

COUNTERS: tuple[tuple[str, str], ...] = (
    *(("queries_total", transport) for transport in TRANSPORTS),
    *(("answers_total", rcode) for rcode in RCODES),
    *(("cache_answers_total", kind) for kind in CACHE_KINDS),
    *(("failed_answers_total", reason) for reason in FAILED_REASONS),
    *(("packets_dropped_total", reason) for reason in DROP_REASONS),
    *(("cookies_total", kind) for kind in COOKIE_KINDS),
)
LIST_COUNTERS = (
    "blocked_queries",
    "attempts",
    "attempts_capped",
    "attempts_saturated",
    "new_prefixes",
    "refused_beyond_budget",
    "attempts_bounded",
    "blocked_prefixes",
    "attempts_new_entries",
    "attempts_bounded_saturated",
)
LIST_COUNTERS_START = 64
LIST_COUNTERS_STRIDE = 16
COUNTERS_SIZE = LIST_COUNTERS_START + MAX_LISTS * LIST_COUNTERS_STRIDE
BLOCKED_QUERIES = 0
ATTEMPTS = 1
ATTEMPTS_CAPPED = 2
ATTEMPTS_SATURATED = 3
NEW_PREFIXES = 4
REFUSED_BEYOND_BUDGET = 5
ATTEMPTS_BOUNDED = 6
BLOCKED_PREFIXES = 7
ATTEMPTS_NEW_ENTRIES = 8
ATTEMPTS_BOUNDED_SATURATED = 9


def counter(metric: str, label: str) -> int:
    """Return the index of a fixed counter in the table."""
    return COUNTERS.index((metric, label))


def list_counter(slot: int, number: int) -> int:
    """Return the index of counter `number` of the list in `slot` (0 to MAX_LISTS - 1)."""
    return LIST_COUNTERS_START + slot * LIST_COUNTERS_STRIDE + number
