"""Lists that are signed and wrong: what they would block by accident waits, and the rest of them is in force."""

from pathlib import Path

import pytest

from resolver.feed import approve, audit, decide
from resolver.feed.actions import Action
from resolver.feed.approve import Signer
from resolver.feed.decide import Decided, Signed
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("in_this_process")]

MORE_LISTS = """
    [[list]]
    id = "other"
    demonstration = true
    [list.source]
    kind = "tuf"
    url = "https://feed.authority.test/lists"
    root = "/srv/root.json"
"""
GUARD = "[list.guard]\nexpect_entries = [1, 4000000]\nrefused = 1.0\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def resolver_of(authority: Authority, tmp_path: Path, guard: str = "", **settings: object) -> Enforcer:
    resolver = Enforcer(authority, tmp_path / "state", GUARD + guard, **settings)  # type: ignore[arg-type]  # its fields
    resolver.feed.recover()
    return resolver


async def published(resolver: Enforcer, data: bytes, serial: int, entries: int | None = None) -> None:
    assert resolver.authority is not None
    resolver.authority.publish(data, serial, entries=entries)
    await resolver.list.poll()


PROTECTED = 'protected = ["shop.test", "bank.test"]\n'


async def approved(resolver: Enforcer, monkeypatch: pytest.MonkeyPatch, serial: int) -> None:
    """Two persons approve the lines set aside."""

    async def signer_of(signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        return Signer(signature.decode(), f"SHA256:{signature.decode()}", max(held))

    monkeypatch.setattr(approve, "signer_of", signer_of)
    for person in (b"anna", b"ben"):
        signed = Signed(action=Action.APPROVE_SET_ASIDE, serial=serial, signature=person, uid=1000)
        await decide.decide(resolver.list, signed, Path("/signers"), resolver.now)


async def test_lines_set_aside_stay_approved_in_later_serials_until_another_one_is_added(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, each serial of a list that changes often took the approval away."""
    resolver = resolver_of(authority, tmp_path, PROTECTED)
    await published(resolver, names(10) + b"shop.test\n", 7)
    assert not resolver.blocks("shop.test")
    await approved(resolver, monkeypatch, 7)
    assert resolver.blocks("shop.test")
    # The same entry on another line, and under a restart.
    await published(resolver, b"shop.test\n" + names(12), 8)
    assert (resolver.enforced, resolver.blocks("shop.test")) == (8, True)
    resolver.restarted()
    assert resolver.blocks("shop.test")
    entries, _ = audit.verify(resolver.folder / "audit.log")
    assert entries[-1].detail.startswith("lines set aside stay approved; issued ")
    # Another entry on the line of one that was approved is not approved, and takes the approval of all with it.
    await published(resolver, b"bank.test\n" + names(12), 9)
    assert (resolver.enforced, resolver.blocks("bank.test")) == (9, False)
    await published(resolver, b"shop.test\nbank.test\n" + names(12), 10)
    assert not resolver.blocks("shop.test")


async def test_an_entry_that_covers_more_than_the_one_approved_waits_again(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = resolver_of(authority, tmp_path, PROTECTED)
    await published(resolver, names(10) + b"=shop.test\n", 7)
    await approved(resolver, monkeypatch, 7)
    assert resolver.blocks("shop.test")
    await published(resolver, names(10) + b"shop.test\n", 8)
    assert (resolver.enforced, resolver.blocks("shop.test"), resolver.blocks("www.shop.test")) == (8, False, False)


async def test_where_a_line_set_aside_holds_the_list_the_same_line_holds_it_once(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = resolver_of(authority, tmp_path, PROTECTED + 'on_entry = "hold"\n')
    await published(resolver, names(10) + b"shop.test\n", 7)
    assert resolver.list.state.held.reasons == ("set_aside",)
    await resolver.list.accept_held()
    await approved(resolver, monkeypatch, 7)
    await published(resolver, names(11) + b"shop.test\n", 8)
    assert (resolver.enforced, resolver.blocks("shop.test")) == (8, True)
    await published(resolver, names(11) + b"shop.test\nbank.test\n", 9)
    assert (resolver.enforced, resolver.list.state.held.reasons) == (8, ("set_aside",))


@pytest.mark.parametrize("announced", [False, True])
async def test_eight_thousand_popular_names_are_added(announced: bool, authority: Authority, tmp_path: Path) -> None:
    popular = tmp_path / "popular.csv"
    popular.write_bytes(names(8000, "popular"))
    resolver = resolver_of(authority, tmp_path, f'popular = "{popular}"\n')
    await published(resolver, names(2000), 7)
    await published(resolver, names(2000) + names(8000, "popular"), 8, 10_000 if announced else None)
    assert resolver.failures == {}
    assert resolver.enforced == (8 if announced else 7)
    assert resolver.blocks("name1999.test")
    assert not any(resolver.blocks(f"popular{number}.test") for number in range(0, 8000, 100))
    held, record = resolver.list.state.held, resolver.list.state.in_force
    assert record is not None
    if announced:
        assert (held, record.set_aside) == (None, {"popular": 8000})
    else:
        assert held is not None
        assert held.reasons == ("growth",)


async def test_an_exporter_makes_every_entry_an_exception(authority: Authority, tmp_path: Path) -> None:
    """As many names as before, and none of them blocked."""
    resolver = resolver_of(authority, tmp_path)
    await published(resolver, names(3000), 7)
    turned = b"".join(b"!" + line for line in names(3000).splitlines(keepends=True))
    await published(resolver, turned, 8, 3000)
    assert (resolver.enforced, resolver.failures) == (7, {"empty": 1})
    await published(resolver, turned + b"one.test\n", 9, 3001)
    held = resolver.list.state.held
    assert held is not None
    assert held.reasons == ("shrink",)
    assert resolver.enforced == 7
    assert resolver.blocks("name2999.test")


async def test_suffixes_in_a_list_of_production(authority: Authority, tmp_path: Path) -> None:
    resolver = resolver_of(authority, tmp_path, demonstration=False)
    await published(resolver, b"# salt\na.co.uk\nco.uk\ngithub.io\ncom\n.\nb.co.uk\n", 7)
    assert (resolver.enforced, resolver.failures) == (7, {})
    record = resolver.list.state.in_force
    assert record is not None
    assert record.refused_lines == {"icann_suffix": (3,), "tld": (5,), "root": (6,)}
    assert record.set_aside_lines == {"private_suffix": (4,)}
    assert resolver.blocks("a.co.uk")
    assert resolver.blocks("b.co.uk")
    assert not any(map(resolver.blocks, ("c.co.uk", "github.io", "site.github.io", "a.com")))


async def test_a_protected_name_in_every_disguise(authority: Authority, tmp_path: Path) -> None:
    resolver = resolver_of(authority, tmp_path, 'protected = ["bücher.shop.test"]\n')
    lines = "name.test\nBÜCHER.Shop.test\nxn--BCHER-kva.shop.test.\nwww.bücher.shop.test\nshop.test\n"
    await published(resolver, (lines + "name.test/path\nxn--bcher-kva.shop.test/path\n").encode(), 7)
    record = resolver.list.state.in_force
    assert record is not None
    assert record.set_aside_lines == {"protected": (2, 3, 4, 5)}
    assert record.refused_lines == {"url": (6, 7)}
    assert resolver.blocks("name.test")
    assert not any(map(resolver.blocks, ("xn--bcher-kva.shop.test", "www.xn--bcher-kva.shop.test", "shop.test")))


PAGE = """
    operator = "ISP, https://www.isp.test/block"
    contact = "Wrong? Write to <abuse@mail.test>."
    help = [{text = "Help", url = "https://help.test/now"}, {text = "Call", phone = "1"}]
"""


HOSTS = ("www.isp.test", "mail.test", "help.test", "feed.authority.test", "receipts.authority.test")
"""Of the page's links, of another list's feed, of the receipts."""


async def test_a_list_lists_the_hosts_that_we_and_our_visitors_need(authority: Authority, tmp_path: Path) -> None:
    resolver = resolver_of(
        authority, tmp_path, MORE_LISTS, page=PAGE, of_source='receipt = "https://receipts.authority.test/in"'
    )
    aside = [line for host in HOSTS for line in (host, f"={host}", f"a.b.{host}")] + ["isp.test", "authority.test"]
    others = ["name.test", *(f"other-{host}" for host in HOSTS)]
    await published(resolver, "".join(f"{line}\n" for line in [*aside, *others]).encode(), 7)
    record = resolver.list.state.in_force
    assert record is not None
    assert record.set_aside_lines == {"protected": tuple(range(1, len(aside) + 1))}
    assert (resolver.enforced, record.refused) == (7, {})
    for host in (*HOSTS, "isp.test", "authority.test"):
        assert not any(map(resolver.blocks, (host, f"www.{host}", f"a.b.{host}"))), host
    assert all(map(resolver.blocks, (*others, "www.name.test")))


REVERSE = (
    "53.113.0.203.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "1.2.0.192.in-addr.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "in-addr.arpa",
    "arpa",
)
ADDRESSES = ("203.0.113.53", "2001:db8::53", "[2001:db8::53]", "203.0.113.0/24", "192.0.2.1", "2001:db8::1")


async def test_a_list_lists_the_addresses_of_our_upstream_and_page(authority: Authority, tmp_path: Path) -> None:
    """Such lines are refused whoever's address it is, which no approval undoes; so are the names that lead to one."""
    resolver = resolver_of(authority, tmp_path, demonstration=False)
    await published(resolver, "\n".join(("name.co.uk", *ADDRESSES, *REVERSE)).encode(), 7)
    record = resolver.list.state.in_force
    assert record is not None
    assert (resolver.enforced, record.entries, record.set_aside) == (7, 1, {})
    assert record.refused_lines == {"address": (2, 3, 4, 5, 6, 7), "reserved": (8, 9, 10, 11, 12), "tld": (13,)}
    assert resolver.blocks("name.co.uk")
    assert not any(map(resolver.blocks, REVERSE))


async def test_a_list_lists_an_upstream_that_the_operator_has_named(authority: Authority, tmp_path: Path) -> None:
    resolver = resolver_of(authority, tmp_path, 'protected = ["ns1.dns.isp.test"]\n')
    await published(resolver, b"name.test\nns1.dns.isp.test\ndns.isp.test\nisp.test\nwww.isp.test\n", 7)
    record = resolver.list.state.in_force
    assert record is not None
    assert record.set_aside_lines == {"protected": (2, 3, 4)}
    assert not any(map(resolver.blocks, ("ns1.dns.isp.test", "dns.isp.test", "isp.test")))
    assert all(map(resolver.blocks, ("name.test", "www.isp.test")))


async def test_a_popular_file_that_is_missing(authority: Authority, tmp_path: Path) -> None:
    popular = tmp_path / "popular.csv"
    popular.write_bytes(b"popular.test\n")
    resolver = resolver_of(authority, tmp_path, f'popular = "{popular}"\n')
    await published(resolver, names(20), 7)
    popular.unlink()
    await published(resolver, names(21), 8)
    assert (resolver.enforced, resolver.failures) == (7, {"protected_unreadable": 1})
    assert resolver.blocks("name0.test")


async def sign(resolver: Enforcer, action: Action, serial: int, person: str) -> Decided:
    signed = Signed(action=action, serial=serial, signature=person.encode(), uid=1000)
    return await decide.decide(resolver.list, signed, Path("/signers"), resolver.now)


async def test_infrastructure_waits_for_two_persons_and_anew_with_each_other_line(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def signer_of(signature: bytes, held: dict[int, bytes], approvers: Path) -> Signer:
        return Signer(signature.decode(), f"SHA256:{signature.decode()}", max(held))

    monkeypatch.setattr(approve, "signer_of", signer_of)
    resolver = resolver_of(authority, tmp_path, demonstration=False)
    await published(resolver, b"a.co.uk\nocsp.pki.goog\npki.goog\n", 7)
    record = resolver.list.state.in_force
    assert record is not None
    assert record.set_aside_lines == {"infrastructure": (2, 3)}
    assert resolver.blocks("a.co.uk")
    assert not resolver.blocks("pki.goog")
    assert not (await sign(resolver, Action.APPROVE_SET_ASIDE, 7, "anna")).done
    assert not resolver.blocks("pki.goog")
    assert (await sign(resolver, Action.APPROVE_SET_ASIDE, 7, "ben")).done
    assert resolver.blocks("pki.goog")
    await published(resolver, b"a.co.uk\nb.co.uk\nocsp.pki.goog\npki.goog\n", 8)
    assert (resolver.enforced, resolver.approved) == (8, True)
    assert resolver.blocks("pki.goog")
    await published(resolver, b"a.co.uk\nb.co.uk\nocsp.pki.goog\npki.goog\ncrl.pki.goog\n", 9)
    assert (resolver.enforced, resolver.approved) == (9, False)
    assert resolver.blocks("b.co.uk")
    assert not resolver.blocks("pki.goog")


async def test_one_line_set_aside_holds_the_list_where_the_operator_says_so(
    authority: Authority, tmp_path: Path
) -> None:
    resolver = resolver_of(authority, tmp_path, 'on_entry = "hold"\n', demonstration=False)
    await published(resolver, b"a.co.uk\n", 7)
    await published(resolver, b"a.co.uk\npki.goog\n", 8)
    assert (resolver.enforced, resolver.failures) == (7, {})
    held = resolver.list.state.held
    assert held is not None
    assert held.reasons == ("set_aside",)
