"""Receives the datagrams of QUIC, and finds or begins the connection that each belongs to (RFC 9000 5.2).

Rules, in the order in which a datagram meets them:
- A client that is not `allowed` is dropped before anything of its datagram is read.
- A datagram of a connection counts only if it comes from the address where the connection began.
- A first datagram has at least 1200 octets (14.1). Without a token it gets a Retry, which is smaller than itself and
  leaves no state; a prefix that is at its limit gets none. With a valid token it takes a place (query.accept_limits).
  So no address that is not its sender's gets more octets than it sent, and no work with keys is done for one.
- What belongs to no connection gets a stateless reset that is shorter than itself, or nothing.
- In one turn of the loop a bounded number of datagrams is read, and each connection that they touched sends once.
- A connection ends after QUIET_S without a query, after LIFE_S (once its queries are answered), if its handshake takes
  HANDSHAKE_S, and as edge.quic_conversation says. It is forgotten as soon as the close is sent.
- Behind SO_REUSEPORT the kernel chooses a process by both addresses and ports: since no connection moves, all its
  datagrams reach the process that began it.
- A certificate that is replaced serves connections from then on; tickets of the one before are forgotten.
- aioquic logs addresses and what clients send: its loggers are silent.
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import partial
from os import urandom
from typing import Any, Final, NamedTuple, Protocol

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificates

from resolver.config.values import address_octets
from resolver.core.admit import Access, admit, allows, exempts, is_mapped
from resolver.core.codes import ADMITTED
from resolver.core.scratch import Scratch
from resolver.edge.quic_conversation import STREAMS, Conversation, Post, Spoken
from resolver.edge.quic_engine import STREAM_OCTETS, WINDOW_OCTETS, Engine
from resolver.edge.quic_tokens import Tokens
from resolver.edge.tallies import Tallies
from resolver.query.accept_limits import Bounds, Places
from resolver.query.accept_sockets import Receiving, receiving

CONNECTIONS: Final = 2000
QUIET_S: Final = 30.0
LIFE_S: Final = 300.0
LINGER_S: Final = 5.0
"""The time that a connection which is to be closed has for its answers."""

HANDSHAKE_S: Final = 5.0
HANDSHAKES_A_SECOND: Final = 20
"""Of a client prefix, unless it is exempt; as many at once."""

LOOK_S: Final = 1.0
BUFFERED_OCTETS: Final = 2**26
DATAGRAMS_A_TURN: Final = 64
TICKETS: Final = 4096

_DATAGRAM_OCTETS: Final = 4096
_ID_OCTETS: Final = 8
_LONG: Final = 0x80
_RESET_MOST: Final = 43
_RESET_LEAST: Final = 21
_TOKEN_OCTETS: Final = 16
for _name in ("quic", "http3"):
    logging.getLogger(_name).disabled = True


class Identity(NamedTuple):
    """A certificate with those that lead to its authority, and its key."""

    certificates: list[Any]
    key: Any

    @classmethod
    def of(cls, certificates: bytes, key: bytes) -> "Identity":
        """Return what PEM octets say; ValueError if they are none, or the key is not the certificate's."""
        chain, private = load_pem_x509_certificates(certificates), load_pem_private_key(key, None)
        if chain[0].public_key() != private.public_key():
            raise ValueError("the key is not the certificate's")
        return cls(chain, private)

    @property
    def tokens(self) -> Tokens:
        """The tokens under a secret of this key."""
        return Tokens(self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


class Clients(Protocol):
    """Who may connect, and how many connections there may be, in all and of a prefix."""

    @property
    def connections(self) -> int:
        """All together."""

    @property
    def per_client(self) -> int:
        """Of one prefix that is not exempt."""

    def access(self, rate: int) -> Access:
        """Return the ACL and the exempt, with buckets of `rate` a second."""


class QuicServer:
    """The sockets of QUIC and their connections.

    post: hands a query to the service (edge.link). clients: who may connect, and how many. path: of DoH.
    """

    def __init__(
        self,
        clients: Clients,
        post: Post,
        tallies: Tallies,
        identity: Identity,
        *,
        path: str = "/dns-query",
        quiet_s: float = QUIET_S,
        life_s: float = LIFE_S,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        self.post = post
        self._access = clients.access(HANDSHAKES_A_SECOND)
        self._scratch = Scratch()
        limits = Bounds(clients.connections, clients.per_client, lambda client: bool(exempts(self._access, client)))
        self.places = Places(limits, CONNECTIONS)
        self.path = path.encode()
        self.conversations: set[Conversation] = set()
        self._tallies = tallies
        self._quiet_s = quiet_s
        self._life_s = life_s
        self._handshake_s = handshake_s
        self._loop = asyncio.get_running_loop()
        self._sockets: list[Receiving] = []
        self._empty = asyncio.Event()
        self._by_id: dict[bytes, Conversation] = {}
        self._of_prefix: Counter[bytes] = Counter()
        self._opening: set[Conversation] = set()
        self._touched: dict[Conversation, None] = {}
        self._is_due = False
        self._moved = 0
        self._is_closing = False
        self._looking: asyncio.TimerHandle | None = None
        self._tickets: OrderedDict[bytes, tls.SessionTicket] = OrderedDict()
        self.tokens = self._former = identity.tokens
        self.use(identity)

    def use(self, identity: Identity) -> None:
        """Take a certificate and its key for the connections that begin from now on."""
        self._identity = identity
        if identity.tokens != self.tokens:
            self._former, self.tokens = self.tokens, identity.tokens
        self._configurations: dict[str, QuicConfiguration] = {}
        self._tickets.clear()

    def open(self, sockets: Sequence[socket.socket], protocol: Spoken) -> None:
        """Receive on bound sockets that do not block."""
        for one in map(receiving, sockets):
            self._sockets.append(one)
            self._loop.add_reader(one.fileno(), self._read, one, protocol)
        if self._looking is None:
            self._look()

    async def close(self, grace_s: float = 2.0) -> None:
        """Begin no connection more, answer what is in flight within `grace_s`, and close all."""
        self._is_closing = True
        for one in list(self.conversations):
            one.finish()
        if self.conversations:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace_s)
        for one in list(self.conversations):
            one.close(one.codes.none)
        self._transmit()
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._sockets.clear()
        if self._looking is not None:
            self._looking.cancel()

    def refused(self, reason: str) -> None:
        """Count a connection or request that is refused; reason: of edge_frames.REFUSALS."""
        self._tallies.refuse(reason)

    def send(self, one: Receiving, octets: bytes, peer: Any) -> None:
        """Send a datagram, or lose it: QUIC sends again what is lost."""
        self._count(len(octets))
        try:
            one.sendto(octets, peer)
        except OSError:
            return

    def touch(self, conversation: Conversation) -> None:
        """Have a conversation send at the end of this turn."""
        self._touched[conversation] = None
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._transmit)

    def issued(self, conversation: Conversation, connection_id: bytes) -> None:
        """Find a conversation by one more connection id."""
        conversation.ids.add(connection_id)
        self._by_id[connection_id] = conversation

    def retired(self, conversation: Conversation, connection_id: bytes) -> None:
        """Find a conversation by one connection id less."""
        conversation.ids.discard(connection_id)
        self._by_id.pop(connection_id, None)

    def established(self, conversation: Conversation) -> None:
        """Count a handshake."""
        self._tallies.handshakes += 1
        self._opening.discard(conversation)

    def ended(self, conversation: Conversation) -> None:
        """Forget a connection."""
        if conversation not in self.conversations:
            return
        self.conversations.discard(conversation)
        self._opening.discard(conversation)
        for one in conversation.ids:
            self._by_id.pop(one, None)
        prefix = _prefix(conversation.client)
        self._of_prefix[prefix] -= 1
        if not self._of_prefix[prefix]:
            del self._of_prefix[prefix]
        conversation.forget()
        if not self.conversations:
            self._empty.set()
        self._tallies.closed(conversation.transport)
        self.places.leave(conversation)

    def _read(self, one: Receiving, protocol: Spoken) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                datagram, peer = one.recvfrom(_DATAGRAM_OCTETS)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # a network that is gone, or an ICMP message: the next datagram is of another
                continue
            self._count(len(datagram))
            self._take(one, protocol, datagram, peer)
        self._transmit()

    def _take(self, one: Receiving, protocol: Spoken, datagram: bytes, peer: Any) -> None:
        client = address_octets(peer[0])
        if not allows(self._access, client):
            self.refused("not_allowed")
            return
        try:
            header = pull_quic_header(Buffer(data=datagram), _ID_OCTETS)
        except ValueError:
            return
        conversation = self._by_id.get(header.destination_cid)
        if conversation is not None:
            if conversation.peer[:2] == peer[:2]:
                conversation.take(datagram)
        elif not datagram[0] & _LONG:
            self._reset(one, _place(client, peer), header.destination_cid, len(datagram), peer)
        elif len(datagram) >= SMALLEST_MAX_DATAGRAM_SIZE and not self._is_closing:
            self._first(one, protocol, header, datagram, peer, client)

    def _first(
        self, one: Receiving, protocol: Spoken, header: QuicHeader, datagram: bytes, peer: Any, client: bytes
    ) -> None:
        """Take a client's first datagram: choose the version, prove the address, begin a connection."""
        if header.packet_type == QuicPacketType.VERSION_NEGOTIATION:
            return
        if header.version != QuicProtocolVersion.VERSION_1:
            versions = [int(QuicProtocolVersion.VERSION_1)]
            self.send(one, encode_quic_version_negotiation(header.destination_cid, header.source_cid, versions), peer)
            return
        if header.packet_type != QuicPacketType.INITIAL:
            return
        bounds = self.places.bounds
        if self._of_prefix[_prefix(client)] >= bounds.per_client and not bounds.exempt(client):
            self.refused("connection_limit")
            return
        place, now = _place(client, peer), self._loop.time()
        if not header.token:
            ours = urandom(_ID_OCTETS)
            token = self.tokens.retry(place, header.destination_cid, ours, now)
            retry = encode_quic_retry(header.version, ours, header.source_cid, header.destination_cid, token)
            self.send(one, retry, peer)
            return
        original = self.tokens.original(header.token, place, header.destination_cid, now)
        if original is None:  # a new certificate may have come between the Retry and this
            original = self._former.original(header.token, place, header.destination_cid, now)
        if original is None:
            self.refused("handshake")
            return
        if admit(self._access, client, 1, int(1000 * now), self._scratch) != ADMITTED:
            self.refused("flood")
            return
        engine = Engine(
            self._configuration(protocol.alpn),
            original,
            header.destination_cid,
            streams=STREAMS,
            uni=protocol.uni,
            resets=partial(self.tokens.reset, place),
            fetch=lambda ticket: self._tickets.pop(ticket, None),
            store=self._keep,
        )
        conversation = protocol.conversation(engine, self, one, peer, client)
        if not self.places.enter(conversation, client, now):
            self.refused("connection_limit")
            return
        self._tallies.opened(conversation.transport)
        self.conversations.add(conversation)
        self._opening.add(conversation)
        self._of_prefix[_prefix(client)] += 1
        self.issued(conversation, header.destination_cid)
        self.issued(conversation, engine.host_cid)
        conversation.take(datagram)

    def _reset(self, one: Receiving, place: bytes, connection_id: bytes, octets: int, peer: Any) -> None:
        """Send a stateless reset, shorter than what it answers, so that no two of them keep each other going."""
        size = min(octets - 1, _RESET_MOST)
        if size >= _RESET_LEAST:
            start = bytearray(urandom(size - _TOKEN_OCTETS))
            start[0] = start[0] & 0x3F | 0x40
            self.send(one, bytes(start) + self.tokens.reset(place, connection_id), peer)

    def _configuration(self, alpn: str) -> QuicConfiguration:
        made = self._configurations.get(alpn)
        if made is None:
            first, *others = self._identity.certificates
            made = self._configurations[alpn] = QuicConfiguration(
                is_client=False,
                alpn_protocols=[alpn],
                certificate=first,
                certificate_chain=others,
                private_key=self._identity.key,
                connection_id_length=_ID_OCTETS,
                idle_timeout=self._quiet_s,
                max_data=WINDOW_OCTETS,
                max_stream_data=STREAM_OCTETS,
                supported_versions=[int(QuicProtocolVersion.VERSION_1)],
            )
        return made

    def _keep(self, ticket: tls.SessionTicket) -> None:
        """Keep a ticket, for one use."""
        self._tickets[ticket.ticket] = ticket
        if len(self._tickets) > TICKETS:
            self._tickets.popitem(last=False)

    def _transmit(self) -> None:
        self._is_due = False
        touched, self._touched = self._touched, {}
        for conversation in touched:
            if conversation in self.conversations:
                conversation.transmit()

    def _count(self, octets: int) -> None:
        """Count octets received or sent; look at what all connections hold after each quarter of its bound."""
        self._moved += octets
        if self._moved < BUFFERED_OCTETS // 4:
            return
        self._moved = 0
        most = sorted(self.conversations, key=lambda one: -one.engine.held())
        total = sum(one.engine.held() for one in most)
        if total > BUFFERED_OCTETS:
            for one in most:
                total -= one.engine.held()
                one.refuse("connection_limit", one.codes.load)
                if total <= BUFFERED_OCTETS // 2:
                    return

    def _look(self) -> None:
        """Close connections that are quiet, too old, or still have no handshake; look again after LOOK_S."""
        now = self._loop.time()
        ours = self.conversations
        for one in self.places.silent(now - self.places.hurried(self._quiet_s)):
            if one in ours:
                one.close(one.codes.none)
        for one in self.places.old(now - self._life_s):
            if one in ours:
                one.finish()
        for one in self.places.old(now - self._life_s - LINGER_S):
            if one in ours:
                one.close(one.codes.none)
        for one in self.places.old(now - self._handshake_s):
            if one in self._opening:
                self.refused("handshake")
                self.ended(one)
        self._looking = self._loop.call_later(min(LOOK_S, self._quiet_s / 4, self._life_s / 4), self._look)


def _place(client: bytes, peer: Any) -> bytes:
    """Return address and port of a client in octets."""
    return client + int(peer[1]).to_bytes(2, "big")


def _prefix(client: bytes) -> bytes:
    """Return what limits count a client by: its /32 of IPv4, its /56 of IPv6."""
    return client if is_mapped(client) else client[:7]
