"""Status and look-up from what is written: no service runs, and no name comes back out."""

from array import array
from pathlib import Path

import pytest
from msgspec.structs import replace

from resolver.cli import list_lookup, typed
from resolver.config import config
from resolver.core import codes, entries
from resolver.feed import poll
from resolver.feed.audit import Audit
from resolver.feed.places import Places
from resolver.feed.release import Covered, Releases
from resolver.feed.seal import seal_of
from resolver.feed.state import Floor, Held, Record, State, put_in_force
from resolver.feed.store import Store

NAMED = codes.BLOCK_SELF | codes.BLOCK_BELOW
ENTRIES = {
    "shop.test": NAMED,
    "only.test": codes.BLOCK_SELF,
    "late.test": NAMED | codes.SET_ASIDE,
    "new.test": NAMED | codes.NEW,
    "fine.shop.test": codes.EXCEPT_SELF | codes.EXCEPT_BELOW,
}
CANARY = "canary-7f3a"
NOW = 1_700_100_000.0
# The line of each slot of the image that was saved last, by list.
LINES: dict[str, bytearray] = {}

FILE = """
page.addresses = ["192.0.2.1"]
state.directory = "{folder}"
[[list]]
id = "first"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/a", root = "/srv/root.json" }}
[[list]]
id = "second"
demonstration = true
source = {{ kind = "tuf", url = "file:///srv/b", root = "/srv/root.json" }}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> config.Config:
    return config.parse(FILE.format(folder=tmp_path / "state"), "resolver.toml")


def record(loaded: config.Config, **changes: object) -> Record:
    """What is written of a list of `ENTRIES` that was put in force."""
    facts: dict[str, object] = {
        "serial": 7,
        "digest": "0" * 64,
        "issued": 1_700_000_000,
        "expires": None,
        "withdrawn": False,
        "announced": None,
        "entries": len(ENTRIES),
        "refused": {"malformed": 2, "tld": 0},
        "refused_lines": {"malformed": (3, 9)},
        "image": "1.image",
        "generation": 1,
        "digest_key": poll.keys_of(loaded).digest_id,
        "demonstration": True,
        "targets_keys": "k",
        "since": 1_700_000_060,
    }
    return Record(**{**facts, **changes})  # type: ignore[arg-type]  # keys as the struct names them


def save(
    loaded: config.Config, list_id: str, kept: Record, held: Held | None = None
) -> Path:
    """Writes image, floor and state of a list as an update does; returns the image's path."""
    keys = poll.keys_of(loaded)
    store = Store(Places(loaded.state.directory).list(list_id))
    store.prepare()
    bits = b"".join(flags.to_bytes(2, "little") for flags in ENTRIES.values())
    written = entries.write(
        b"".join(map(typed.wire, ENTRIES)),
        bits,
        keys.digest,
        list_id=list_id,
        serial=kept.serial,
        issued=kept.issued,
        expires=kept.expires or 0,
        generation=kept.generation,
        selftest=b"a" * 26,
        lines=array("I", range(1, len(ENTRIES) + 1)),
        line_of=LINES.setdefault(list_id, bytearray()),
    )
    path = store.folder / "1.image"
    path.write_bytes(bytes(written) + seal_of(written, keys.seal))
    state = put_in_force(State(), kept)
    store.write_floor(Floor(record=kept))
    store.write_state(State(generation=1, in_force=state.in_force, held=held))
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop.test", "listed by first serial 7 (itself)"),
        ("SHOP.test.", "listed by first serial 7 (itself)"),
        ("www.shop.test", "listed by first serial 7 (subtree)"),
        ("fine.shop.test", "listed by first serial 7 (exception)"),
        ("a.fine.shop.test", "listed by first serial 7 (exception)"),
        ("only.test", "listed by first serial 7 (itself)"),
        ("www.only.test", "not listed"),
        ("test", "not listed"),
        ("xshop.test", "not listed"),
        ("https://www.shop.test/p?q", "of the URL: www.shop.test: listed by first serial 7 (subtree)"),
        ("only[.]test", "read as only.test: listed by first serial 7 (itself)"),
        ("xshop.test:443", "read as xshop.test: not listed"),
    ],
)
def test_a_name_is_judged_as_the_service_would(loaded: config.Config, name: str, said: str) -> None:
    save(loaded, "first", record(loaded))
    assert list_lookup.Lists(loaded, NOW).describe(name) == said


@pytest.mark.parametrize("text", ["a..test", "", "two shop.test", "=shop.test", "shop.test # c", "192.0.2.1", "."])
def test_what_is_no_name_is_never_called_not_listed(loaded: config.Config, text: str) -> None:
    save(loaded, "first", record(loaded))
    with pytest.raises(typed.NotAName):
        list_lookup.Lists(loaded, NOW).describe(text)


@pytest.mark.parametrize(
    ("name", "approved", "said"),
    [
        ("shop.test", False, "listed by first serial 7, line 1 (itself)"),
        ("www.shop.test", False, "listed by first serial 7, line 1 (subtree)"),
        ("fine.shop.test", False, "listed by first serial 7 (exception)"),
        ("late.test", False, "listed by first serial 7, line 3 (itself), but set aside (popular): not blocked"),
        ("late.test", True, "listed by first serial 7, line 3 (itself)"),
    ],
)
def test_the_line_of_an_entry_is_said(loaded: config.Config, name: str, approved: bool, said: str) -> None:
    path = save(loaded, "first", record(loaded, approved=approved, set_aside_lines={"popular": (3,)}))
    lines = path.with_suffix(".lines")
    assert ", line" not in list_lookup.Lists(loaded, NOW).describe(name)
    lines.write_bytes(LINES["first"])
    assert list_lookup.Lists(loaded, NOW).describe(name) == said
    lines.write_bytes(LINES["first"][:-4])
    assert ", line" not in list_lookup.Lists(loaded, NOW).describe(name)
    lines.write_bytes(b"")
    assert ", line" not in list_lookup.Lists(loaded, NOW).describe(name)


def test_an_entry_whose_reason_is_not_kept_is_set_aside_all_the_same(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    said = "listed by first serial 7 (itself), but set aside: not blocked"
    assert list_lookup.Lists(loaded, NOW).describe("late.test") == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop.test", "listed by first serial 7 (itself)"),
        ("new.test", "listed by first serial 7 (itself)"),
        ("www.new.test", "listed by first serial 7 (subtree)"),
        ("late.test", "listed by first serial 7 (itself), but set aside: not blocked"),
        ("fresh.shop.test", "listed by first serial 7 (subtree)"),
    ],
)
def test_entries_that_are_set_aside_are_told(loaded: config.Config, name: str, said: str) -> None:
    save(loaded, "first", record(loaded))
    assert list_lookup.Lists(loaded, NOW).describe(name) == said


def test_a_list_past_its_hard_limit_that_is_lifted_blocks_nothing(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded, expires=int(NOW)))
    kept = list_lookup.Lists(loaded, NOW).describe("shop.test")
    one, two = loaded.lists
    lifted = replace(loaded, lists=(replace(one, expire="lift"), two))
    assert (kept, list_lookup.Lists(lifted, NOW - 1).describe("shop.test")) == (
        "listed by first serial 7 (itself)",
    ) * 2
    assert (
        list_lookup.Lists(lifted, NOW).describe("shop.test")
        == "listed by first serial 7 (itself), but lifted: not blocked"
    )


def test_a_name_that_was_released_is_told_until_when(loaded: config.Config, tmp_path: Path) -> None:
    save(loaded, "first", record(loaded))
    save(loaded, "second", record(loaded, serial=9))
    made = releases_of(loaded, tmp_path)
    one = made.add(
        typed.wire("www.shop.test"),
        [Covered(list="first", serial=7, digest="")],
        uid=1,
        reason="wrong",
        for_s=86400,
    )
    until = "released until 2023-11-17T02:00:00Z (release 1): not blocked"
    found = list_lookup.Lists(loaded, NOW)
    assert found.describe("a.www.shop.test") == (
        f"listed by first serial 7 (subtree), but {until}; listed by second serial 9 (subtree), but {until}"
    )
    assert "released" not in found.describe("shop.test")
    assert "released" not in list_lookup.Lists(loaded, float(one.until)).describe("www.shop.test")
    assert "exception" in found.describe("fine.shop.test")
    (Path(loaded.state.directory) / "releases/1.image").write_bytes(b"damaged")
    assert "released" not in list_lookup.Lists(loaded, NOW).describe("www.shop.test"), "as the service does"
    (Path(loaded.state.directory) / "releases/releases.json").write_bytes(b"{")
    with pytest.raises(list_lookup.ListUnreadable, match="the releases cannot be read"):
        list_lookup.Lists(loaded, NOW)


def releases_of(loaded: config.Config, tmp_path: Path) -> Releases:
    made = Releases(
        Path(loaded.state.directory) / "releases",
        poll.keys_of(loaded),
        Audit(tmp_path / "audit.log"),
        now=lambda: NOW,
        enforce=lambda _: None,
        report=lambda *_: None,
    )
    made.recover()
    return made


def test_every_list_has_its_say_in_configured_order(loaded: config.Config) -> None:
    save(loaded, "second", record(loaded, serial=9))
    save(loaded, "first", record(loaded))
    assert list_lookup.Lists(loaded, NOW).describe("shop.test") == (
        "listed by first serial 7 (itself); listed by second serial 9 (itself)"
    )


def test_without_a_list_nothing_is_listed_and_no_key_is_made(loaded: config.Config, tmp_path: Path) -> None:
    assert list_lookup.Lists(loaded, NOW).describe("shop.test") == "not listed"
    assert not (tmp_path / "state").exists()


def test_a_withdrawn_list_lists_nothing(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded, withdrawn=True, image=""))
    assert list_lookup.Lists(loaded, NOW).describe("shop.test") == "not listed"


def test_a_damaged_image_is_told_by_its_list(loaded: config.Config) -> None:
    path = save(loaded, "first", record(loaded))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(list_lookup.ListUnreadable, match=r"^first: its saved image cannot be used: "):
        list_lookup.Lists(loaded, NOW)


def test_a_damaged_state_is_told(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    (Places(loaded.state.directory).list("first") / "state.json").write_text("{" + CANARY)
    with pytest.raises(list_lookup.ListUnreadable) as caught:
        list_lookup.every_state(loaded)
    assert CANARY not in str(caught.value)


def test_a_state_of_another_account_is_told_with_what_to_do(
    loaded: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "state.json")

    monkeypatch.setattr(poll, "saved_state", closed)
    with pytest.raises(list_lookup.ListUnreadable) as caught:
        list_lookup.every_state(loaded)
    directory = loaded.state.directory
    assert str(caught.value) == (
        f"the state below {directory} is not yours to read: run this as root or as the service's account"
    )
