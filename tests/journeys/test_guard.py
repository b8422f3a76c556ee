"""Lists that are signed and wrong: what they would block by accident waits, and the rest of them is in force."""

from pathlib import Path

import pytest

from resolver.feed import approve, decide
from resolver.feed.approve import Action, Signer
from resolver.feed.decide import Decided, Signed
from tests.fakes.authority import Authority, names
from tests.fakes.enforcer import Enforcer

pytestmark = pytest.mark.asyncio

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


async def test_the_host_of_a_receipt(authority: Authority, tmp_path: Path) -> None:
    receipt = 'receipt = "https://receipts.authority.test/in"'
    resolver = resolver_of(authority, tmp_path, of_source=receipt)
    await published(resolver, b"name.test\nreceipts.authority.test\nauthority.test\n", 7)
    record = resolver.list.state.in_force
    assert record is not None
    assert record.set_aside_lines == {"protected": (2, 3)}
    assert not resolver.blocks("receipts.authority.test")


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


async def test_infrastructure_waits_for_two_persons_and_for_each_list_anew(
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
    assert resolver.enforced == 8
    assert not resolver.approved
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
