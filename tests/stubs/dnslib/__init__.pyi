# The part of dnslib that resolver/ uses; dnslib itself has no types.
from typing import Any, Self

class DNSError(Exception): ...

class Bimap:
    def __init__(self, name: str, forward: dict[int, str], error: Any = ...) -> None: ...
    forward: dict[int, str]
    reverse: dict[str, int]
    def get(self, k: int | str, default: Any = ...) -> Any: ...
    def __getattr__(self, k: str) -> int: ...
    def __getitem__(self, k: int) -> str: ...

QTYPE: Bimap
CLASS: Bimap
QR: Bimap
RCODE: Bimap
OPCODE: Bimap

class DNSLabel:
    label: tuple[bytes, ...]
    def __init__(self, label: str | bytes | DNSLabel | tuple[bytes, ...] | list[bytes]) -> None: ...
    def idna(self) -> str: ...

class DNSHeader:
    id: int
    bitmap: int
    q: int
    a: int
    auth: int
    ar: int
    qr: int
    opcode: int
    aa: int
    tc: int
    rd: int
    ra: int
    z: int
    ad: int
    cd: int
    rcode: int
    def __init__(self, id: int | None = ..., bitmap: int | None = ..., q: int = ..., a: int = ..., auth: int = ..., ar: int = ..., **args: int) -> None: ...

class DNSQuestion:
    qname: DNSLabel
    qtype: int
    qclass: int
    def __init__(self, qname: Any = ..., qtype: int = ..., qclass: int = ...) -> None: ...

class RD:
    data: bytes
    def __init__(self, data: bytes = ...) -> None: ...

class EDNSOption:
    code: int
    data: bytes
    def __init__(self, code: int, data: bytes) -> None: ...

class RR:
    rname: DNSLabel
    rtype: int
    rclass: int
    ttl: int
    rdata: Any
    def __init__(self, rname: Any = ..., rtype: int = ..., rclass: int = ..., ttl: int = ..., rdata: Any = ...) -> None: ...
    def toZone(self) -> str: ...

class EDNS0(RR):
    def __init__(self, rname: Any = ..., rtype: int = ..., ext_rcode: int = ..., version: int = ..., flags: str = ..., udp_len: int = ..., opts: list[EDNSOption] | None = ...) -> None: ...

class DNSRecord:
    header: DNSHeader
    questions: list[DNSQuestion]
    rr: list[RR]
    auth: list[RR]
    ar: list[RR]
    @property
    def q(self) -> DNSQuestion: ...
    def __init__(self, header: DNSHeader | None = ..., questions: list[DNSQuestion] | None = ..., rr: list[RR] | None = ..., q: DNSQuestion | None = ..., a: RR | None = ..., auth: list[RR] | None = ..., ar: list[RR] | None = ...) -> None: ...
    @classmethod
    def parse(cls, packet: bytes) -> Self: ...
    @classmethod
    def question(cls, qname: str, qtype: str = ..., qclass: str = ...) -> Self: ...
    def reply(self, ra: int = ..., aa: int = ...) -> DNSRecord: ...
    def add_question(self, *q: DNSQuestion) -> None: ...
    def add_answer(self, *rr: RR) -> None: ...
    def add_auth(self, *auth: RR) -> None: ...
    def add_ar(self, *ar: RR) -> None: ...
    def pack(self) -> bytearray: ...
    def toZone(self, prefix: str = ...) -> str: ...
