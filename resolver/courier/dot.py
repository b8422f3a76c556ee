"""DNS over TLS (RFC 7858): messages behind their length, answered in any order.

Rules:
- Each query has an id of chance that is free on its connection. An answer with another id is none: the connection ends.
- An answer in which the length is less than a header ends it too.
"""

import os
from typing import Final

from resolver.courier.connection import Connection, Flight
from resolver.query.courier_frames import Reason

_HEADER: Final = 12
_CHANCE_OCTETS: Final = 256
"""Drawn at one go: a system call for many ids."""


class Dot(Connection):
    """One connection over which messages are sent as over TCP (RFC 7766)."""

    _rest_of = b""
    _chance = b""
    _used = 0

    def begin(self, flight: Flight) -> None:
        """Send a query (connection.Connection)."""
        identity = self._drawn()
        while identity in self.flights or identity in self.left:
            identity = self._drawn()
        self.flights[identity] = flight
        query = flight.padded
        self.write(b"".join((len(query).to_bytes(2), identity.to_bytes(2), query[2:])))

    def received(self, data: bytes) -> None:
        """Take the answers that are complete (connection.Connection)."""
        data = self._rest_of + data if self._rest_of else data
        at = 0
        while len(data) - at >= 2:
            size = data[at] << 8 | data[at + 1]
            if size < _HEADER:
                self.end(Reason.GARBLED)
                return
            after = at + 2 + size
            if after > len(data):
                break
            identity = data[at + 2] << 8 | data[at + 3]
            if identity not in self.flights and identity not in self.left:
                self.end(Reason.GARBLED)
                return
            self.answer(identity, data[at + 2 : after])
            at = after
        self._rest_of = data[at:]

    def _drawn(self) -> int:
        if self._used == len(self._chance):
            self._chance, self._used = os.urandom(_CHANCE_OCTETS), 0
        self._used += 2
        return int.from_bytes(self._chance[self._used - 2 : self._used])
