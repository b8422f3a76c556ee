"""Defines what is counted: the definition, its version, and the caveat that goes with every number.

Rules:
- v2 caps attempts for each IPv6 /56 and /48 too; v1 did so for each client alone.
- Bounded attempts are a count of their own with versions of their own (b1), for figures with noise: v2 is as it was,
  and a day that was counted before there were bounded attempts has none.
- A change of what is counted, of the window or of the cap is a new version; numbers of two versions are never
  compared.
- Wherever a count is shown, the caveat is shown with it.
"""

from typing import Final

VERSION: Final = "v2"

BLOCKED_QUERY: Final = (
    "A blocked query is any query answered as blocked, the self-test's excepted (the upper bound)."
)

CAPS: Final = "20 per client, 60 per IPv6 /56 and 240 per IPv6 /48 in an hour"

ATTEMPT: Final = (
    "An attempt is a blocked look-up of type A, AAAA, HTTPS or SVCB, counted at most once in 60 seconds per "
    "client address (IPv4 address or IPv6 /64) and list entry, and at most 20 times per client and hour, in IPv6 also "
    "at most 60 times per /56 and 240 times per /48; the window starts with the counted query and is not prolonged; "
    "a client seen over both families may count twice."
)

IN_PRINT: Final = (
    f"blocked look-ups, at most one a minute per client address and entry (definition {VERSION})"
)
"""The words for an attempt in texts for people."""

BOUNDED_VERSION: Final = "b1"
BOUNDED_A_DAY: Final = 3

BOUNDED: Final = (
    f"A bounded attempt (definition {BOUNDED_VERSION}) is one of the first {BOUNDED_A_DAY} attempts of a client prefix "
    "(IPv4 address or IPv6 /56) on a day (UTC) for each list and resolver, also if it is beyond the caps of an hour. "
    "Each day's count is rounded to a whole batch, up or down at random, so that on average nothing is lost. A restart "
    "within the day begins the count of each prefix again."
)

COMPLETE: Final = (
    "Numbers leave on a beat of the clock and in batches, the rest carried over: a total is never above what "
    "happened, and complete to within one batch per series and its random start, which is below one batch."
)

CAVEAT: Final = (
    "These are counts of look-ups, not of persons and not of intent, and only of users of these resolvers. Anyone "
    "who can send queries can inflate them, by at most 20 an hour for each IPv4 address, 60 for each IPv6 /56 and 240 "
    "for each /48 that he has or, over UDP, that he forges."
)

TEXT: Final = "\n".join(
    (f"Definition {VERSION} of what is counted", BLOCKED_QUERY, ATTEMPT, COMPLETE, CAVEAT),
)
"""The whole definition, as printed."""
