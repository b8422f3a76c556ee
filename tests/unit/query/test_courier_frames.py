"""Frames between service and courier: what is written is read, and what is none ends there."""

import pytest

from resolver.config.values import Encrypted
from resolver.query import courier_frames
from resolver.query.courier_frames import Frames, Malformed, Reason, Settings

MESSAGE = bytes(range(12))


def test_what_is_written_is_read_however_it_is_cut() -> None:
    settings = [
        Settings(Encrypted("192.0.2.53", 853, "tls", "dns.example", ""), ("pin",), ""),
        Settings(Encrypted("fe80::1%eth0", 443, "https", "dns.example", "/dns-query"), (), "/ca.pem"),
    ]
    written = b"".join(
        (
            courier_frames.servers(settings),
            courier_frames.ask(2**32 - 1, 1, MESSAGE),
            courier_frames.forget(5),
            courier_frames.answer(6, MESSAGE + bytes(65_523)),
            courier_frames.failed(7, Reason.STATUS, 404),
            courier_frames.failed(8, Reason.TLS, 2**20),
            courier_frames.notice(9, Reason.FLOOD, 2**20),
        )
    )
    for step in (1, 3, 1000, len(written)):
        frames, found = Frames(), []
        for at in range(0, len(written), step):
            found += [(kind, bytes(body)) for kind, body in frames.taken(written[at : at + step])]
        bodies = [memoryview(body) for _, body in found]
        kinds = "SQFAEEN"
        assert "".join(chr(kind) for kind, _ in found) == kinds
        assert courier_frames.settings_in(bodies[0]) == tuple(settings)
        assert courier_frames.asked_in(bodies[1]) == (2**32 - 1, 1, MESSAGE)
        assert courier_frames.number_in(bodies[2]) == 5
        assert courier_frames.answer_in(bodies[3]) == (6, MESSAGE + bytes(65_523))
        assert courier_frames.failed_in(bodies[4]) == (7, Reason.STATUS, 404)
        assert courier_frames.failed_in(bodies[5]) == (8, Reason.TLS, 0xFFFF)
        assert courier_frames.noticed_in(bodies[6]) == (9, Reason.FLOOD, 0xFFFF)


@pytest.mark.parametrize("octets", [bytes(4), b"\xff\xff\xff\xff", (2**20 + 1).to_bytes(4)])
def test_a_length_out_of_bounds_is_refused_at_once(octets: bytes) -> None:
    with pytest.raises(Malformed):
        list(Frames().taken(octets))


def test_bodies_of_another_size_are_refused() -> None:
    for read, body in (
        (courier_frames.number_in, b"123"),
        (courier_frames.asked_in, bytes(17)),
        (courier_frames.answer_in, bytes(15)),
        (courier_frames.answer_in, bytes(65_540)),
        (courier_frames.failed_in, bytes(4)),
        (courier_frames.failed_in, bytes(4) + b"\xff\0\0"),
        (courier_frames.noticed_in, bytes(2)),
        (courier_frames.noticed_in, bytes(2) + b"\xff\0\0"),
    ):
        with pytest.raises(Malformed):
            read(memoryview(body))  # type: ignore[operator]  # each takes one
