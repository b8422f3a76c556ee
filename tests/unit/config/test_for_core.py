"""The configuration in the terms of core: who is a client, which lists judge whom, what they answer."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from resolver.config import for_core
from resolver.config.for_core import Image, ranges, replies
from resolver.config.values import address_octets, prefixes
from resolver.core import admit, codes, policy
from resolver.core.name import Name, unfold
from resolver.core.scratch import Scratch
from tests.parity.cases import of
from tests.unit.query import parts

# Below, in and above the block of mapped IPv4 addresses, and its edges.
ADDRESSES = st.one_of(
    st.ip_addresses(v=4, network="192.0.2.0/26"),
    st.ip_addresses(v=6, network="2001:db8::/122"),
    st.ip_addresses(v=6, network="::ffff:192.0.2.0/122"),
    st.sampled_from(["::", "::1", "::fffe:ffff:ffff", "::ffff:0:0", "::ffff:ffff:ffff", "::1:0:0:0", "64:ff9b::1"]).map(
        ipaddress.IPv6Address
    ),
)
NETWORKS = st.builds(
    lambda address, kept: ipaddress.ip_network((address, min(kept, address.max_prefixlen)), strict=False),
    ADDRESSES,
    st.one_of(st.integers(26, 32), st.integers(122, 128), st.integers(0, 128)),
)


def held(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks) -> bool:
    """Whether a prefix holds the address, or the address that it maps to or from."""
    both = {address}
    if isinstance(address, ipaddress.IPv4Address):
        both.add(ipaddress.IPv6Address(address_octets(str(address))))
    elif address.ipv4_mapped:
        both.add(address.ipv4_mapped)
    return any(one in network for one in both for network in networks)


@of(0.05)
@given(networks=st.lists(NETWORKS, max_size=8), addresses=st.lists(ADDRESSES, min_size=1, max_size=8))
def test_ranges_hold_what_the_prefixes_hold(networks, addresses) -> None:
    config = parts.config()
    config = replace(
        config,
        listen=replace(config.listen, allow=tuple(networks), proxy_from=tuple(networks)),
        limits=replace(config.limits, exempt=tuple(networks)),
    )
    access = for_core.access(config, bytearray(128), parts.KEY)
    for address in addresses:
        octets, inside = address_octets(str(address)), held(address, networks)
        assert admit.admit(access, octets, False, 0, Scratch()) == (codes.ADMITTED if inside else codes.NOT_A_CLIENT)
        assert (admit.trusts(access, octets), admit.exempts(access, octets)) == (inside, inside)


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::8", "::1"])
@pytest.mark.parametrize("prefix", ["::/0", "::/80", "2001:db8::/32"])
def test_both_families_in_one_set_leave_nobody_out(client: str, prefix: str) -> None:
    """All clients, as operators write it: `0.0.0.0/0` beside `::/0`."""
    networks = prefixes("0.0.0.0/0", prefix)
    config = parts.config()
    lists = (replace(config.lists[0], clients=networks), *config.lists[1:])
    config = replace(config, lists=lists, listen=replace(config.listen, allow=networks))
    access = for_core.access(config, bytearray(128), parts.KEY)
    inside = held(ipaddress.ip_address(client), networks)
    octets = address_octets(client)
    assert (admit.admit(access, octets, False, 0, Scratch()) == codes.ADMITTED) is inside
    assert bool(admit.scope(access, octets) & 1) is inside


def test_ranges_are_sorted_merged_and_of_both_families() -> None:
    made = ranges(prefixes("2001:db8::/33", "192.0.2.128/25", "2001:db8:8000::/33", "192.0.2.0/25", "10.0.0.0/8"))
    found = [made[at : at + 16] for at in range(0, len(made), 16)]
    assert found == sorted(found)
    assert len(found) == 6
    assert found[2:4] == [address_octets("192.0.2.0"), address_octets("192.0.2.255")]
    assert found[4:] == [address_octets("2001:db8::"), address_octets("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")]
    assert ranges([]) == b""


def test_replies_are_the_lists_own_addresses_or_the_pages() -> None:
    whole = parts.config(3)
    one, other, another = whole.lists
    two = replace(other, addresses=(ipaddress.ip_address("192.0.2.7"),))
    three = replace(another, answer="nodata", basis="contract")
    assert bytes(replies(one, whole).v4)[-4:] == bytes([192, 0, 2, 1])
    assert bytes(replies(one, whole).v6)[-16:] == ipaddress.ip_address("2001:db8::1").packed
    own = replies(two, whole)
    assert bytes(own.v4)[-4:] == bytes([192, 0, 2, 7])
    assert own.v6_count == 0, "a list's own addresses stand in place of all of the page's"
    assert replies(three, whole).v4_count == 0
    assert [replies(each, whole).ede for each in (one, three)] == [codes.EDE_FORGED_ANSWER, codes.EDE_BLOCKED]


def verdict_of(generation: policy.Generation, name: str, scope: int = codes.ALL_LISTS) -> tuple[int, int]:
    """The verdict on a name, and the slot of the list that gave it."""
    unfolded, verdict = Name(), policy.Verdict()
    wire = parts.octets_of(name)
    assert unfold(wire, 0, len(wire), unfolded)
    return policy.decide(generation, unfolded, scope, verdict), verdict.slot


def test_a_lists_clients_go_by_its_place_and_other_slots_judge_everybody() -> None:
    access = parts.access(exempt={1: "192.0.2.64/26"})
    assert admit.scope(access, address_octets("192.0.2.64")) == codes.ALL_LISTS & ~0b10
    assert admit.scope(access, address_octets("192.0.2.63")) == codes.ALL_LISTS


def test_who_is_limited_and_who_is_trusted_comes_from_the_configuration() -> None:
    config = replace(
        parts.config(rate=1),
        listen=replace(parts.config().listen, proxy_from=prefixes("192.0.2.1/32")),
        limits=replace(parts.config(rate=1).limits, exempt=prefixes("192.0.2.2/32")),
    )
    access = for_core.access(config, bytearray(admit.BUCKET_OCTETS * admit.WAYS), parts.KEY)
    one, two, three = (address_octets(f"192.0.2.{last}") for last in (1, 2, 3))
    assert [admit.trusts(access, client) for client in (one, two)] == [1, 0]
    assert [admit.admit(access, two, False, 0, Scratch()) for _ in range(3)] == [codes.ADMITTED] * 3
    assert [admit.admit(access, three, False, 0, Scratch()) for _ in range(2)] != [codes.ADMITTED] * 2
    assert admit.admit(access, address_octets("198.51.100.1"), False, 0, Scratch()) == codes.NOT_A_CLIENT


def test_lists_keep_their_places_whichever_of_them_has_an_image() -> None:
    images = {"list-2": Image(parts.image_of(["a.test"])), "list-0": Image(parts.image_of(["test", "!a.test"]))}
    made = for_core.generation(7, parts.KEY, parts.config(3), images)
    assert made.number == 7
    assert [one.slot for one in made.members] == [0, 2]
    assert verdict_of(made, "a.test") == (codes.BLOCK, 2)
    assert verdict_of(made, "b.test") == (codes.BLOCK, 0)
    assert verdict_of(made, "b.test", 0b100) == (codes.PASS, -1)


@pytest.mark.parametrize("approved", [False, True])
def test_what_counts_of_an_image_is_passed_on(approved: bool) -> None:
    images = {"list-0": Image(parts.image_of(["a.test"]), approved)}
    (one,) = for_core.generation(1, parts.KEY, parts.config(), images).members
    assert one.approved is approved


def test_a_released_name_passes_every_list_and_while_there_is_one_no_name_is_denied() -> None:
    images = {f"list-{slot}": Image(parts.image_of(["a.test", "b.test"])) for slot in range(2)}
    config = parts.config(2, answer="nxdomain")
    before = for_core.generation(1, parts.KEY, config, images)
    after = for_core.generation(2, parts.KEY, config, images, iter([parts.image_of(["!a.test"])]))
    assert verdict_of(before, "a.test") == (codes.BLOCK, 0)
    assert verdict_of(after, "a.test")[0] == codes.PASS
    assert verdict_of(after, "a.test", 0)[0] == codes.PASS
    assert verdict_of(after, "b.test") == (codes.BLOCK, 0)
    assert [one.replies.answer for one in before.members] == [codes.ANSWER_NXDOMAIN] * 2
    assert [one.replies.answer for one in after.members[:2]] == [codes.ANSWER_NODATA] * 2
    assert after.members[2].release
    assert after.members[2].replies is None
