# cython: language_level=3, annotation_typing=False
"""One client's TLS connection: a socket below, a protocol above (DoT, or a version of HTTP).

Rules:
- What the socket has is decrypted at one go, and what the protocol says in a turn of the loop is encrypted and sent at
  one go: a system call for many queries. OpenSSL reads and writes memory alone.
- A load balancer sends one PROXY header first, before TLS, which names the client; without it the connection ends. From
  any other sender the header is no TLS, and ends the connection as well.
- Handshakes wait for their turn (`Doors`): many of them do not delay the connections that are set up.
- What comes is decrypted in small pieces, and its records are counted: a client may have few of them that bring no
  data. Else it could have us derive keys without end (RFC 8446 4.6.3), at no cost of its own, and never ask.
- While a client reads too slowly, nothing is read from it. A client that closes its sending half gets its answers.
- Of an error of TLS nobody learns the text: it is counted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Final, Protocol

from resolver.core.proxy import Proxied, read
from resolver.edge import bounds
from resolver.process.tls_records import Records
from resolver.query.accept_limits import Places

_WANTS: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_AGAIN: Final = (BlockingIOError, InterruptedError)
_PIECE_OCTETS: Final = 2**14
"""The most that a record holds (RFC 8446 5.1): after a read of so much nothing of it is left."""

_log: Final = logging.getLogger("resolver.edge")


class Above(Protocol):
    """The protocol over a connection."""

    def received(self, data: bytes) -> None:
        """Take decrypted octets."""

    def ended(self) -> None:
        """Note that the client sends no more; call `close` once it has its answers."""

    def called(self) -> None:
        """Go on with what is there: a new turn has begun, or there is room again."""

    def drain(self) -> None:
        """Take no more queries; call `close` once the client has its answers."""

    def lost(self) -> None:
        """Note that the connection is gone."""

    def flush(self) -> None:
        """Hand what there is to say to `send`: the turn ends."""

    def buffered(self) -> int:
        """Return how many octets it holds."""


class Shared(Protocol):
    """What all connections of a transport share."""

    loop: asyncio.AbstractEventLoop
    octets: memoryview
    proxied: Proxied
    places: Places

    def above(self, connection: Secured, alpn: str | None) -> Above:
        """Return the protocol of a connection whose handshake is done, by the ALPN that was chosen."""

    @property
    def secure(self) -> ssl.SSLContext:
        """Return the TLS context for a connection that begins."""

    def may_begin(self, connection: Secured) -> bool:
        """Return whether the client of a PROXY header may have this connection; count it for its prefix."""

    def refuse(self, reason: str) -> None:
        """Count why a connection is refused (edge_frames.REFUSALS)."""

    def shakes(self, connection: Secured) -> None:
        """Have `Secured.shake` called when its turn has come."""

    def shaken(self) -> None:
        """Count a handshake that is done."""

    def says(self, connection: Secured) -> None:
        """Have `Secured.flush` called at the end of the turn."""

    def moved(self, octets: int) -> None:
        """Count octets that were received or sent."""

    def gone(self, connection: Secured) -> None:
        """Note that a connection is closed."""


class Secured:
    """A connection of `client` (16 octets), which holds a place (accept_limits.Holder). by_proxy: the peer is a load
    balancer."""

    def __init__(self, shared: Shared, one: socket.socket, client: bytes, *, by_proxy: bool) -> None:
        self.client = client
        self.by_proxy = by_proxy
        self.counted = b""
        self.queued = False
        self.says = False
        self._shared = shared
        self._socket: socket.socket | None = one
        self._above: Above | None = None
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._opening: bytes | None = b"" if by_proxy else None
        self._unsent = b""
        self._seen = self._bare = 0
        self._records = Records()
        self._reads = self._writes = self._ends = self._heard = False

    def begin(self) -> None:
        """Read from the socket."""
        if self._socket is not None:
            self._socket.setblocking(False)
            self._reads = True
            self._shared.loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        """True until the connection is closed."""
        return self._socket is not None

    @property
    def is_shaken(self) -> bool:
        """True once the handshake is done."""
        return self._above is not None

    @property
    def writable(self) -> bool:
        """True while the client reads fast enough."""
        return len(self._unsent) < bounds.UNSENT_OCTETS

    @property
    def ending(self) -> bool:
        """True while it closes as soon as the client has read all unsent octets."""
        return self._ends

    def buffered(self) -> int:
        """Return how many octets are held for this connection."""
        held = self._in.pending + self._out.pending + len(self._unsent)
        return held + (self._above.buffered() if self._above is not None else 0)

    # What the protocol above calls.

    def send(self, data: bytes) -> None:
        """Encrypt and send."""
        if self._socket is None or self._tls is None or self._ends:
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self.abort()
            return
        self._push()

    def flush(self) -> None:
        """Send what the protocol above has to say."""
        self.says = False
        if self._above is not None and self._socket is not None:
            self._above.flush()

    def called(self) -> None:
        """Go on: a new turn has begun, or there is room again."""
        if self._above is not None:
            self._above.called()

    def pace(self, reads: bool) -> None:
        """Read on, or not, as long as the client itself reads."""
        self._watch_reads(reads and self.writable)

    def close(self) -> None:
        """Close as soon as the client has read all unsent octets."""
        if self._socket is None or self._ends:
            return
        if self._tls is not None and self._above is not None:
            try:
                self._tls.unwrap()
            except _WANTS:
                pass
            except (ssl.SSLError, OSError):
                self.abort()
                return
            self._push()
        self._ends = True
        self._watch_reads(False)
        if not self._unsent:
            self.abort()
        else:
            self._shared.places.ending(self, self._shared.loop.time())

    def finish(self) -> None:
        """Take no more queries; close after the last answer."""
        if self._above is None:
            self.abort()
        else:
            self._above.drain()

    def refuse(self, reason: str) -> None:
        """Count the reason and close at once."""
        if self._socket is not None:
            self._shared.refuse(reason)
            self.abort()

    def abort(self) -> None:
        """Close at once and discard unsent octets."""
        one, self._socket = self._socket, None
        if one is None:
            return
        loop = self._shared.loop
        loop.remove_reader(one.fileno())
        loop.remove_writer(one.fileno())
        one.close()
        self._unsent = b""
        above, self._above = self._above, None
        if above is not None:
            above.lost()
        self._tls = None
        self._shared.gone(self)

    # What the socket has.

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            octets = self._shared.octets
            most = 0 if self._above is not None else bounds.HANDSHAKE_READ_OCTETS  # 0: as many as there is room for
            size = self._socket.recv_into(octets, most)
        except _AGAIN:
            return
        except OSError:
            self.abort()
            return
        if not size:
            self._ended()
            return
        data = bytes(octets[:size])
        if self._above is not None:
            self._decrypt(data)
        else:
            self._begun(data)
        self._shared.moved(size)

    def _begun(self, data: bytes) -> None:
        """Take octets of the PROXY header and of the handshake; what follows them waits until the handshake is done."""
        self._seen += len(data)
        if self._opening is not None:
            rest = self._opened(self._opening + data)
            if rest is None:
                return
            data = rest
        self._records.begun(data)
        self._in.write(data)
        if self._in.pending:
            self._watch_reads(False)
            self._shared.shakes(self)

    def _opened(self, data: bytes) -> bytes | None:
        """Read the PROXY header; return what follows it, None if there is nothing to go on with."""
        proxied = self._shared.proxied
        size = read(data, len(data), proxied)
        if size < 0:
            self._opening = data
            return None
        self._opening = None
        if size == 0:
            self.refuse("proxy")
            return None
        if not proxied.local:
            self.client = bytes(proxied.client)
            if not self._shared.may_begin(self):
                return None
        return data[size:]

    def shake(self) -> None:
        """Go on with the handshake."""
        if self._socket is None:
            return
        try:
            if self._tls is None:
                self._tls = self._shared.secure.wrap_bio(self._in, self._out, server_side=True)
            self._tls.do_handshake()
        except _WANTS:
            self._push()
            if self._seen > bounds.HANDSHAKE_OCTETS:
                self.refuse("handshake")
            self._watch_reads(True)
            return
        except (ssl.SSLError, OSError, ValueError):
            self._push()  # the alert says to the client what it was
            self.refuse("handshake")
            return
        self._shared.shaken()
        self._above = self._shared.above(self, self._tls.selected_alpn_protocol())
        self._push()
        self._watch_reads(True)
        self._decrypt()

    def _decrypt(self, data: bytes = b"") -> None:
        """Decrypt what is there and what has come, and hand it to the protocol above."""
        pieces: list[bytes] = []
        ended = False
        try:
            for at in range(0, max(1, len(data)), bounds.DECRYPTED_OCTETS):
                part, before = data[at : at + bounds.DECRYPTED_OCTETS], len(pieces)
                self._in.write(part)
                ended = self._read(pieces)
                # A record that is whole only later counts as bare until then.
                self._bare = max(0, self._bare + self._records.begun(part) - (len(pieces) - before))
                if self._bare > bounds.MOST_BARE_RECORDS:
                    self.refuse("flood")
                    return
                if ended:
                    break
        except (ssl.SSLError, OSError):
            self._push()
            self.refuse("protocol")
            return
        if self._out.pending:  # an answer to a request for other keys
            self._push()
        try:
            if pieces and self._above is not None:
                self._above.received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if ended:
                self._ended()
        except Exception as error:  # noqa: BLE001 - its text may hold what the client sent; others go on
            _log.error("in a connection: %s; it is closed", type(error).__name__)
            self.refuse("protocol")

    def _read(self, pieces: list[bytes]) -> bool:
        """Decrypt what is there, a piece for each record with data; return whether the client sends no more."""
        tls = self._tls
        try:
            while tls is not None and self._in.pending:
                piece = tls.read(_PIECE_OCTETS)
                if not piece:
                    return True
                pieces.append(piece)
        except _WANTS:
            pass
        except ssl.SSLZeroReturnError:
            return True
        return False

    def _ended(self) -> None:
        """Note that the client sends no more."""
        self._heard = True
        self._watch_reads(False)
        if self._above is None or self._ends:
            self.abort()
        else:
            self._above.ended()

    def _watch_reads(self, reads: bool) -> None:
        reads = reads and not self._heard and not self._ends
        if self._socket is None or reads == self._reads:
            return
        self._reads = reads
        if reads:
            self._shared.loop.add_reader(self._socket.fileno(), self._readable)
        else:
            self._shared.loop.remove_reader(self._socket.fileno())

    # What it takes.

    def _push(self) -> None:
        """Send what is encrypted."""
        data = self._out.read()
        if self._socket is None or not data:
            return
        self._shared.moved(len(data))
        if self._unsent:
            self._unsent += data
        else:
            self._send(data)
        if len(self._unsent) > 4 * bounds.UNSENT_OCTETS:
            self.refuse("slow")

    def _send(self, data: bytes) -> None:
        """Send octets; those that the socket does not take are unsent."""
        if self._socket is None:
            return
        try:
            sent = self._socket.send(data)
        except _AGAIN:
            sent = 0
        except OSError:
            self.abort()
            return
        self._unsent = data[sent:]
        if bool(self._unsent) != self._writes:
            self._writes = not self._writes
            if self._writes:
                self._shared.loop.add_writer(self._socket.fileno(), self._writable)
            else:
                self._shared.loop.remove_writer(self._socket.fileno())

    def _writable(self) -> None:
        was = self.writable
        self._send(self._unsent)
        if self._socket is None:
            return
        if self._ends and not self._unsent:
            self.abort()
        elif not was and self.writable:
            self.called()
