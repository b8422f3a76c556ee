"""doctor/doq.py: an answer by DNS over QUIC, and only from a server that is verified."""

import sys
from pathlib import Path

import dns.message
import pytest
import trustme

from resolver.doctor import ask, doq, wire
from resolver.doctor.ask import Asker, Endpoint, Query, Silence
from tests.unit.dns_client import test_encrypted as encrypted
from tests.unit.dns_client.test_encrypted import NAME, WAITS_S, WithAnId, authority

__all__ = ["authority"]  # a fixture
QUERY = Query(name=wire.name_of("open.test"), kind=wire.A, over=ask.DOQ)


def asker_of(place: Endpoint, ca: Path, name: str = NAME) -> Asker:
    return Asker(place, tls_name=name, ca=ca, doq=place, wait_s=WAITS_S / 2)


def test_a_verified_server_is_asked_and_its_id_is_0(authority: tuple[trustme.CA, Path], tmp_path: Path) -> None:
    ca, path = authority
    with encrypted.doq(ca, tmp_path) as server:
        place = Endpoint(server.host, server.port)
        assert asker_of(place, path).ask(QUERY).answer[0].data == wire.address("198.51.100.7")
        with pytest.raises(Silence, match="does not verify"):
            asker_of(place, path, "other.example").ask(QUERY)
        octets = dns.message.make_query("open.test", "A").to_wire()
        assert doq.exchange(octets, place.host, place.port, NAME, path, WAITS_S)[:2] == octets[:2]
    with encrypted.doq(ca, tmp_path, WithAnId) as server, pytest.raises(Silence, match="id of the reply is not 0"):
        asker_of(Endpoint(server.host, server.port), path).ask(QUERY)


def test_it_is_asked_only_where_it_was_named_and_the_library_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Endpoint("127.0.0.1", 9)
    with pytest.raises(Silence, match="--doq ADDR:PORT says where"):
        Asker(place).ask(QUERY)
    monkeypatch.setitem(sys.modules, "resolver.doctor.doq", None)
    monkeypatch.delattr("resolver.doctor.doq")
    with pytest.raises(Silence, match="has no aioquic"):
        Asker(place, doq=place).ask(QUERY)
