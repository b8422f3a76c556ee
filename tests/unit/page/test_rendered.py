"""The rendered page on its way to the process that shows it: nothing is lost, and nothing is sent twice."""

import ipaddress

from resolver.page.rendered import Rendered, packed, unpacked
from tests.unit.page.pages import FILLED, LISTS, a_list, made


def of_two_purposes() -> Rendered:
    """Pages at three addresses, two of which show the same one."""
    court = a_list(id="two", purpose="court-order", addresses=(ipaddress.ip_address("192.0.2.7"),))
    abuse = a_list(addresses=(ipaddress.ip_address("192.0.2.8"), ipaddress.ip_address("2001:db8::8")))
    return made(lists=(abuse, court))


def test_it_comes_back_whole() -> None:
    for one in (made(), of_two_purposes(), *(made(FILLED, lists) for lists in LISTS.values())):
        assert unpacked(packed(one)) == one


def test_a_page_that_addresses_share_is_sent_once() -> None:
    one = of_two_purposes()
    again = unpacked(packed(one))
    assert len(one.by_address) >= 3
    assert len({id(versions) for versions in again.by_address.values()}) == 2
    one_page = sum(len(version.body) + len(version.packed) for version in one.elsewhere.values())
    assert len(packed(one)) < 4 * one_page, "three pages, not four"
