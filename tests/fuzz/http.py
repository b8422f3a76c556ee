"""Rounds of HTTP/2 and HTTP/1.1 to an edge, for tests.fuzz.encrypted: frames and requests as no client has them."""

from collections.abc import Callable
from random import Random
from typing import Final

from hpack import Encoder

from tests.fuzz.served import CANARY, Target, Wire, changed, message
from tests.journeys.edges import DNS_MESSAGE, NAME, PATH, in_url

STEPS: Final = 25
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
UNKNOWN: Final = (0x0A, 0x0C, 0x10, 0x20, 0xFF)
"""The first, ALTSVC, has a form of its own."""
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 4, 8, 0x20
EDGES: Final = (0, 1, 2, 100, 16_383, 16_384, 65_535, 2**24 - 1, 2**31 - 1, 2**31, 2**32 - 1)
BLOCKS: Final = (
    b"\xff\xff\xff\xff\xff\xff\x0f",  # an index beyond all tables
    b"\x80",  # index 0
    b"\xbe",  # the first entry of an empty table
    b"\x3f\xe1\xff\xff\xff\x0f",  # a table of 4 GiB
    b"\x20" * 50,  # the table is emptied again and again
    b"\x40\x01a\xff\xff\xff\xff\x7f",  # a value without end
    b"\x40\x81\xff\x81\xff",  # Huffman code that is padding alone
    b"\x00\x00\x00",  # a field without a name
    b"\x10\x04\x3apth\x01/",  # a pseudo-field that there is not
)
Block = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes, size: int | None = None) -> bytes:
    """Return a frame (RFC 9113 4.1); size: what it says of its payload, None for the truth."""
    said = (len(payload) if size is None else size) & 0xFFFFFF
    return said.to_bytes(3, "big") + bytes((kind, flags)) + (stream & 0xFFFFFFFF).to_bytes(4, "big") + payload


class Speaker:
    """What one client of HTTP/2 says: its streams and its compression.

    wild: what it says now may be what HTTP/2 forbids, which mostly ends the connection; else it is only unusual.
    """

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.wild = False
        self._encoder = Encoder()
        self._next = 1

    def stream(self) -> int:
        """Return a new stream; or wildly, one of before, or one that no client may use."""
        if not self.wild or self.chance.random() < 0.6:
            self._next += 2
            return self._next - 2
        return self.chance.choice((0, 1, 2, 3, 4, max(1, self._next - 2), self._next + 200, 2**31 - 1))

    def block(self, body: bytes | None) -> bytes:
        """Return a header block: a request's, or nearly; body: of a POST, None for a GET."""
        chance, query = self.chance, message(self.chance)
        if body is None:
            fields: Block = [(b":method", b"GET"), (b":path", f"{PATH}?dns={in_url(query)}".encode())]
        else:
            fields = [(b":method", b"POST"), (b":path", PATH.encode())]
        fields += [(b":scheme", b"https"), (b":authority", NAME.encode()), (b"content-type", DNS_MESSAGE.encode())]
        if self.wild:
            fields += chance.choices(
                (
                    (b"content-length", chance.choice((b"0", b"33", b"-1", b"99999", b"9" * 30, b"x", b""))),
                    (b":path", b"/" + CANARY.encode()),
                    (b"connection", b"close"),
                    (b"keep-alive", b"timeout=5"),
                    (b"transfer-encoding", b"chunked"),
                    (b"X-Upper", b"1"),
                    (b"x-line", b"a\r\nb: c"),
                    (b"host", b"other.example"),
                    (b"cookie", b"c" * chance.choice((1, 3000, 17_000))),
                    (b"", b"nameless"),
                ),
                k=chance.choice((1, 2, 70)),
            )
            chance.shuffle(fields)
        else:
            fields += chance.choice(([], [], [(b"x-some", b"v" * 400)] * 3, [(b"x-some", b"")] * 70))
        octets: bytes = self._encoder.encode(fields, huffman=chance.random() < 0.5)
        if self.wild and chance.random() < 0.5:
            octets = chance.choice((changed(chance, octets), octets + chance.choice(BLOCKS), chance.choice(BLOCKS)))
        return octets

    def request(self) -> bytes:
        """Return a whole request, in one frame of headers or in many."""
        chance, stream = self.chance, self.stream()
        body = None if chance.random() < 0.5 else message(chance)
        block, ends = self.block(body), END_STREAM if body is None else 0
        if chance.random() < 0.6:
            made = frame(HEADERS, END_HEADERS | ends, stream, block)
        else:
            made = self._in_parts(stream, block, ends)
        if body is None:
            return made
        sizes = chance.choice((1, 7, 16_384))
        parts = [body[at : at + sizes] for at in range(0, len(body), sizes)][:60]
        last = len(parts) - 1
        return made + b"".join(frame(DATA, END_STREAM * (at == last), stream, one) for at, one in enumerate(parts))

    def _in_parts(self, stream: int, block: bytes, ends: int) -> bytes:
        """Return headers with continuations, which may never end, be empty, or be another stream's."""
        chance = self.chance
        size = chance.choice((1, 5)) if self.wild else 1 + len(block) // chance.randint(2, 20)
        parts = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        parts += [b""] * (chance.choice((0, 0, 200)) if self.wild else chance.choice((0, 0, 3)))
        made = frame(HEADERS, ends, stream, parts[0])
        last = -1 if self.wild and chance.random() < 0.3 else len(parts) - 1
        for at, part in enumerate(parts[1:], 1):
            one = stream + 2 if self.wild and chance.random() < 0.01 else stream
            made += frame(CONTINUATION, END_HEADERS * (at == last), one, part)
        return made

    def _settings(self) -> bytes:
        chance = self.chance
        if not self.wild:
            value, table = chance.choice((0, 1, 65_535, 2**31 - 1)), chance.choice(EDGES)
            pairs = ((4, value), (5, chance.choice((16_384, 2**24 - 1))), (2, 0), (1, table), (0x99, table))
            body = b"".join(code.to_bytes(2, "big") + said.to_bytes(4, "big") for code, said in chance.sample(pairs, 2))
            return frame(SETTINGS, 0, 0, body)
        body = b"".join(
            chance.choice((0, 1, 2, 3, 4, 5, 6, 8, 9, 0xFFFF)).to_bytes(2, "big") + number(chance).to_bytes(4, "big")
            for _ in range(chance.choice((0, 1, 1, 2, 60)))
        )
        body += bytes(chance.choice((0, 0, 0, 0, 3)))
        return frame(SETTINGS, chance.choice((0, 0, 0, 1)), chance.choice((0, 0, 0, 1)), body)

    def _windows(self) -> bytes:
        chance = self.chance
        if not self.wild:
            return frame(WINDOW, 0, 0, chance.randrange(1, 100_000).to_bytes(4, "big")) * chance.choice((1, 30))
        size = chance.choice((4, 4, 4, 4, 0, 3, 5))
        return frame(WINDOW, 0, self.stream(), number(chance).to_bytes(4, "big").ljust(5, b"\0")[:size])

    def _data(self) -> bytes:
        """Return a POST whose content is padded, in many frames, or without an end; wildly, data of any stream."""
        chance = self.chance
        if self.wild:
            flags = chance.choice((0, END_STREAM, PADDED, PADDED | END_STREAM, 0xFF))
            return frame(DATA, flags, self.stream(), chance.randbytes(chance.choice((0, 1, 40, 5000))))
        stream, body = self.stream(), message(chance)
        made = frame(HEADERS, END_HEADERS, stream, self.block(body))
        for _ in range(chance.choice((0, 1, 40))):
            made += frame(DATA, PADDED, stream, b"\xff" + bytes(255))
        made += frame(DATA, PADDED, stream, b"\1" + body[:9000] + b"\0")
        return made + frame(DATA, END_STREAM, stream, b"") * chance.choice((0, 1, 1))

    def _resets(self) -> bytes:
        chance, made = self.chance, b""
        for _ in range(chance.choice((1, 1, 20))):
            stream = self.stream()
            if not self.wild or chance.random() < 0.7:
                made += frame(HEADERS, END_HEADERS | END_STREAM, stream, self.block(None))
            size = chance.choice((4, 3)) if self.wild else 4
            made += frame(RESET, 0, stream, number(chance).to_bytes(4, "big")[:size])
        return made

    def _others(self) -> bytes:
        chance = self.chance
        if not self.wild:
            kind, one = chance.choice(UNKNOWN[1:]), self.stream()
            unusual = frame(kind, chance.randrange(256), one, chance.randbytes(chance.randrange(99)))
            unusual += frame(PRIORITY, 0, one, bytes(4) + b"\xff")
            unusual += frame(PING, 0, 0, bytes(8)) * chance.choice((0, 40))
            block = bytes(5) + self.block(None)
            return unusual + frame(HEADERS, END_HEADERS | END_STREAM | PRIORITIZED, one, block)
        stream, eight = self.stream(), chance.randbytes(chance.choice((8, 8, 8, 7, 9)))
        match chance.randrange(7):
            case 0:
                parent = chance.choice((stream, 0, 1, 2**31 + stream)) & 0xFFFFFFFF
                return frame(PRIORITY, 0, stream, parent.to_bytes(4, "big") + b"\xff")
            case 1:
                block = chance.randbytes(5) + self.block(None)
                flags = END_HEADERS | END_STREAM | PRIORITIZED | chance.choice((0, PADDED))
                return frame(HEADERS, flags, stream, block)
            case 2:
                return frame(PROMISE, END_HEADERS, stream, (2).to_bytes(4, "big") + self.block(None))
            case 3:
                return frame(PING, chance.choice((0, 0, 1)), chance.choice((0, 0, 1)), eight) * chance.choice((1, 50))
            case 4:
                return frame(GOAWAY, 0, chance.choice((0, 0, 1)), eight + CANARY.encode())
            case 5:
                payload = chance.randbytes(chance.randrange(99))
                return frame(chance.choice(UNKNOWN), chance.randrange(256), stream, payload)
            case _:
                payload = chance.randbytes(chance.randrange(50))
                return frame(chance.randrange(12), chance.randrange(256), stream, payload, chance.choice(EDGES))

    def says(self) -> bytes:
        """Return frames by chance."""
        makers: tuple[Callable[[], bytes], ...] = (
            self.request, self.request, self.request, self._settings, self._windows, self._data, self._resets,
            self._others, self._others,
        )  # fmt: skip
        self.wild = self.chance.random() < 0.06
        octets = self.chance.choice(makers)()
        return changed(self.chance, octets) if self.chance.random() < 0.02 else octets


def number(chance: Random) -> int:
    """Return a number of 32 bits, at an edge or not."""
    return chance.choice((*EDGES, chance.randrange(2**32)))


def http2(target: Target, chance: Random) -> None:
    """Play a round of HTTP/2; a connection that has ended is made again."""
    spoken = [_begun(target, chance) for _ in range(chance.randint(1, 3))]
    for _ in range(STEPS):
        at = chance.randrange(len(spoken))
        wire, speaker = spoken[at]
        octets = speaker.says()
        cut = chance.randrange(len(octets) + 1) if chance.random() < 0.3 else len(octets)
        wire.send(octets[:cut], octets[cut:])
        if chance.random() < 0.5:
            wire.hear(0.005)
        if wire.over:
            wire.close()
            spoken[at] = _begun(target, chance)
    for wire, _ in spoken:
        wire.close()


def _begun(target: Target, chance: Random) -> tuple[Wire, Speaker]:
    wire = Wire(target.place, "https", "h2", chance)
    begins = PREFACE + frame(SETTINGS, 0, 0, b"")
    wire.send(changed(chance, begins) if chance.random() < 0.05 else begins)
    return wire, Speaker(chance)


def head(chance: Random) -> bytes:
    """Return the head of a request of HTTP/1.1, or nearly."""
    get = f"{PATH}?dns={in_url(message(chance))}"
    others = ("/" + CANARY, "*", "", f"https://{NAME}{get}", get * 50, "/\x00\xff")
    target = chance.choice((get, get, get, PATH, PATH, *others))
    methods = ("PUT", "CONNECT", "OPTIONS", "PRI", "get", "", "G\x00T", "M" * 9000)
    method = chance.choice(("GET", "GET", "POST", "POST", *methods))
    versions = ("HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.1.1", "http/1.1", "")
    version = chance.choice(("HTTP/1.1",) * 6 + versions)
    fields = [
        f"Host: {NAME}", "Host: other.example", f"Content-Type: {DNS_MESSAGE}", f"content-type: {DNS_MESSAGE}; x=1",
        "Content-Length: 33", "Content-Length: 33", "Content-Length: 0", "Content-Length: -1", "Content-Length: 0x21",
        "Content-Length: 99999999999999999999", "Content-Length: +33", "Content-Length: 33, 33",
        "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked",
        "Expect: 100-continue", "Connection: close", "Connection: keep-alive, Upgrade", "Upgrade: h2c",
        "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "Content-Encoding: gzip", "Content-Encoding: br", "Trailer: x", " folded", "no colon", ": nameless", "a b: c",
        "X-Large: " + "v" * 20_000, "X: \x00", "X: \xff\xfe", f"X-Forwarded-For: {CANARY}", "Cookie: a=b; a=b",
    ]  # fmt: skip
    chosen = [fields[0], *chance.choices(fields, k=chance.choice((0, 1, 3, 5, 80)))]
    end = chance.choice(("\r\n",) * 8 + ("\n", "\r"))
    return end.join((f"{method} {target} {version}", *chosen, "", "")).encode("latin-1")


def content(chance: Random) -> bytes:
    """Return the content of a request: plain, in chunks, or neither."""
    octets = message(chance)
    match chance.randrange(5):
        case 0:
            return b""
        case 1:
            size = chance.choice((b"%x" % len(octets), b"FFFFFFFFFFFFFFFF", b"-1", b"0", b"", b"21;a=" + b"b" * 3000))
            return size + b"\r\n" + octets + b"\r\n0\r\n" + chance.choice((b"\r\n", b"x: y\r\n\r\n", b"x" * 200, b""))
        case 2:
            return b"1\r\n\0\r\n" * chance.choice((5, 2000))
        case _:
            return octets


def post(chance: Random) -> bytes:
    """Return a good request."""
    octets = message(chance)
    fields = f"Host: {NAME}\r\nContent-Type: {DNS_MESSAGE}\r\nContent-Length: {len(octets)}\r\n\r\n"
    return f"POST {PATH} HTTP/1.1\r\n{fields}".encode() + octets


def http1(target: Target, chance: Random) -> None:
    """Play a round of HTTP/1.1: connections, since most of what is wrong ends one."""
    for _ in range(chance.randint(4, 10)):
        wire = Wire(target.place, "https", "http/1.1", chance)
        for _ in range(chance.randint(1, 4)):
            octets = post(chance) * chance.choice((0, 1, 1, 5, 120)) + head(chance) + content(chance)
            if chance.random() < 0.2:
                octets = changed(chance, octets)
            size = chance.choice((len(octets), len(octets), 1 + len(octets) // 3, 1 + len(octets) // 20))
            wire.send(*(octets[at : at + size] for at in range(0, len(octets), size)))
            if chance.random() < 0.5:
                wire.hear(0.01)
        wire.close()
