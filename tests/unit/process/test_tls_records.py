"""Records of TLS are counted wherever what comes is cut."""

import pytest

from resolver.process.tls_records import Records


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, 7, 100])
def test_records_are_counted_wherever_what_comes_is_cut(size: int) -> None:
    octets = b"".join(b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length) for length in (0, 1, 5, 300, 0, 7))
    records = Records()
    counts = [records.begun(octets[at : at + size]) for at in range(0, len(octets), size)]
    assert sum(counts) == 6
    assert records.begun(b"\x17\x03\x03\0") == 0
    assert records.begun(b"\1") == 1
