"""The transports that a query comes over, and what each of them allows.

Rules:
- Over UDP a reply is as large as the client's EDNS payload allows, at least 512 octets (RFC 1035 4.2.1, RFC 6891 6.2.5)
  and at most 1232 (RFC 9715). Over a stream the payload means nothing: a reply has up to 65535 octets (RFC 1035 4.2.2,
  RFC 7766 8, RFC 7858 3.3, RFC 8484 6, RFC 9250 4.2).
- Only over TCP and DoT does the idle timeout go into a reply (RFC 7828 3, RFC 7858 3.4): HTTP and QUIC have their own,
  and DoQ forbids the option (RFC 9250 5.5.2).
- Replies are padded over encrypted transports alone (RFC 7830 6), to a multiple of 468 octets (RFC 8467 4.1).
"""

from enum import Enum

from resolver.core.question import MIN_UDP_OCTETS
from resolver.core.reply import MAX_UDP_OCTETS

MAX_STREAM_OCTETS = 65535
PADDED_OCTETS = 468


class Transport(Enum):
    """How a query came.

    label: its name in metrics and on the command line. is_stream: the client has completed a handshake, so its address
    is not forged, and replies are not cut. least, most: the bounds of a reply's size in octets, between which the
    client's EDNS payload decides. keepalive: whether a reply may carry edns-tcp-keepalive. padding: a reply's size is
    rounded up to a multiple of this, in octets; 0 for no padding.
    """

    UDP = "udp"
    TCP = "tcp"
    DOT = "dot"
    DOH = "doh"
    DOQ = "doq"

    def __init__(self, label: str) -> None:
        self.label = label
        self.is_stream = label != "udp"
        self.is_encrypted = label in ("dot", "doh", "doq")
        self.keepalive = label in ("tcp", "dot")
        self.least = MAX_STREAM_OCTETS if self.is_stream else MIN_UDP_OCTETS
        self.most = MAX_STREAM_OCTETS if self.is_stream else MAX_UDP_OCTETS
        self.padding = PADDED_OCTETS if self.is_encrypted else 0
