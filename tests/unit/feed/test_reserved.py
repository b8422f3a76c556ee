"""Reserved names: which no list holds, which only a demonstration holds, and the zone of the self-test."""

import pytest

from resolver.core import image
from resolver.feed import reserved
from resolver.feed.names import read

PSL = read.suffixes()


def refused(name: bytes, *, demonstration: bool) -> dict[str, int]:
    data = name + (b"\nfine.example\n" if demonstration else b"\nfine.isp\n")
    return read.read(data, PSL, demonstration=demonstration, max_entries=9).refused


@pytest.mark.parametrize("tld", sorted(reserved.SPECIAL_TLDS))
def test_no_list_holds_a_name_of_special_use(tld: bytes) -> None:
    for demonstration in (True, False):
        assert refused(b"a." + tld, demonstration=demonstration) == {"reserved": 1}


@pytest.mark.parametrize("zone", [*sorted(reserved.DOCUMENTATION_TLDS), *reserved.DOCUMENTATION_NAMES])
def test_only_a_demonstration_holds_a_name_for_documentation(zone: bytes) -> None:
    assert refused(b"a.b." + zone, demonstration=False) == {"reserved": 1}
    assert refused(b"a.b." + zone, demonstration=True) == {}


def test_the_zone_that_every_image_blocks_a_name_of_is_in_no_list() -> None:
    for demonstration in (True, False):
        assert refused(b"a." + reserved.SELFTEST_NAME, demonstration=demonstration) == {"selftest": 1}
    assert reserved.SELFTEST_NAME.decode() == image.SELFTEST_NAME
