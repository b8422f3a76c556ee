"""The bounds of an edge: of its connections, of what one of them may hold, and of the work that it may cause.

Those that an operator sets stand in the configuration's [limits]; these are the same for everybody. QUIC has its own
beside them (edge.quic_engine).
"""

from typing import Final

from resolver.query.transport import IDLE_S

MEMORY_OCTETS: Final = 2 * 2**30
"""Address space of an edge."""

# Connections.
DOT_IDLE_S: Final = IDLE_S
DOH_IDLE_S: Final = 30.0
LIFE_S: Final = 1800.0
"""So long a connection lasts; then its client makes another one, with the ticket of this one."""
LOOK_S: Final = 1.0
ACCEPTED_A_TURN: Final = 64
HANDSHAKES_A_TURN: Final = 4
"""Steps of handshakes between two looks at the connections that are set up: each may be a signature."""
HANDSHAKES_A_SECOND: Final = 50
"""Of a client prefix, unless it is exempt; as many at once."""
HANDSHAKE_READ_OCTETS: Final = 4096
"""So much is read at one go while the handshake is not done."""
HANDSHAKE_OCTETS: Final = 2**16
"""What a client may send before its handshake is done."""

# Queries.
QUERIES_A_TURN: Final = 256
QUERIES_A_SHARE: Final = 32
MOST_IN_FLIGHT: Final = 128
"""Queries of a connection without an answer."""

# Octets.
READ_OCTETS: Final = 2**16
UNREAD_OCTETS: Final = 2**14
"""Decrypted octets of a connection that wait for their turn or for room, at which nothing more is read from it."""
DECRYPTED_OCTETS: Final = 4096
"""So much is decrypted before it is counted which records brought nothing."""
MOST_BARE_RECORDS: Final = 64
"""Records of TLS without data (new keys, alerts, empty ones) that a client may send: each is work, and asks nothing."""
UNSENT_OCTETS: Final = 2**18
"""Unsent octets of a connection at which nothing more is read from it; four times as many end it."""
BUFFERED_OCTETS: Final = 2**26
"""What all connections of a transport may hold together; beyond it those that hold most are closed."""

# HTTP.
MOST_STREAMS: Final = 100
MOST_HEADER_OCTETS: Final = 2**14
"""Of a request's header fields, as RFC 9113 6.5.2 counts them (32 octets more for each): a GET has the query there."""
MOST_HEADERS: Final = 64
BODY_OCTETS: Final = 2**17
"""What the bodies of a connection that are not yet whole may hold together."""
CREDIT: Final = 400
"""Frames that ask nothing (resets, pings, settings, window updates, empty data) that a connection may send without an
answer of ours; each answer gives CREDIT_OF_AN_ANSWER back, up to CREDIT."""
CREDIT_OF_AN_ANSWER: Final = 6
OCTETS_UNPAID: Final = 2**18
"""Octets that a connection may send without an answer of ours, whatever they are."""
