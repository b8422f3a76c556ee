"""What each transport allows, as its RFC has it."""

import pytest

from resolver.core import codes
from resolver.query.transport import Transport


@pytest.mark.parametrize(
    ("transport", "is_stream", "is_encrypted", "sizes", "keepalive_ds", "padding"),
    [
        (Transport.UDP, False, False, (512, 1232), -1, 0),
        (Transport.TCP, True, False, (65535, 65535), 100, 0),
        (Transport.DOT, True, True, (65535, 65535), 100, 468),
        (Transport.DOH, True, True, (65535, 65535), -1, 468),
        (Transport.DOQ, True, True, (65535, 65535), -1, 468),
    ],
)
def test_what_a_transport_allows(
    transport: Transport,
    is_stream: bool,
    is_encrypted: bool,
    sizes: tuple[int, int],
    keepalive_ds: int,
    padding: int,
) -> None:
    assert transport.is_stream is is_stream
    assert transport.is_encrypted is is_encrypted
    assert (transport.least, transport.most) == sizes
    assert transport.keepalive_ds == keepalive_ds
    assert transport.padding == padding


def test_a_transport_is_known_by_its_label() -> None:
    assert [Transport(one.label) for one in Transport] == list(Transport)
    assert set(codes.TRANSPORTS) <= {one.label for one in Transport}
