"""What an edge is started with."""

import msgspec
import pytest

from resolver.edge.request import EdgeRequest
from tests.unit.edge.requests import request


def test_a_request_is_read_as_it_was_written() -> None:
    one = request(allow=bytes(range(32)), tls=(("::1", 853),))
    assert msgspec.json.decode(msgspec.json.encode(one), type=EdgeRequest) == one


def test_it_has_no_room_for_a_list_or_a_secret() -> None:
    fields = set(EdgeRequest.__struct_fields__)
    assert not {one for one in fields for word in ("list", "name_", "seed", "keys") if word in one}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"number": "a.test"}', type=EdgeRequest)
