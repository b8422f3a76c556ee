"""Status and look-up from what is written: no service runs, and no name comes back out."""

import json
from array import array
from pathlib import Path

import pytest

from resolver import config, lists
from resolver.core import codes, entries
from resolver.feed import poll
from resolver.feed.seal import seal_of
from resolver.feed.state import Floor, Held, Record, State, put_in_force
from resolver.feed.store import Store

NAMED = codes.BLOCK_SELF | codes.BLOCK_BELOW
ENTRIES = {
    "shop.test": NAMED,
    "only.test": codes.BLOCK_SELF,
    "late.test": NAMED | codes.SET_ASIDE,
    "fine.shop.test": codes.EXCEPT_SELF | codes.EXCEPT_BELOW,
}
CANARY = "canary-7f3a"
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


def save(loaded: config.Config, list_id: str, kept: Record, held: Held | None = None) -> Path:
    """Writes image, floor and state of a list as an update does; returns the image's path."""
    keys = poll.keys_of(loaded)
    store = Store(poll.folder_of(loaded, list_id))
    store.prepare()
    bits = b"".join(flags.to_bytes(2, "little") for flags in ENTRIES.values())
    written = entries.write(
        b"".join(map(lists.wire, ENTRIES)),
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
        ("a..test", "not a domain name"),
        ("", "not a domain name"),
        ("a" * 64 + ".test", "not a domain name"),
        (".".join(["a" * 60] * 5), "not a domain name"),
        ("a\u2028b.test", "not a domain name"),
    ],
)
def test_a_name_is_judged_as_the_service_would(loaded: config.Config, name: str, said: str) -> None:
    save(loaded, "first", record(loaded))
    assert lists.Lists(loaded).describe(name) == said


@pytest.mark.parametrize(
    ("name", "approved", "said"),
    [
        ("shop.test", False, "listed by first serial 7, line 1 (itself)"),
        ("www.shop.test", False, "listed by first serial 7, line 1 (subtree)"),
        ("fine.shop.test", False, "listed by first serial 7 (exception)"),
        ("late.test", False, "listed by first serial 7, line 3 (itself), set aside, not enforced"),
        ("late.test", True, "listed by first serial 7, line 3 (itself)"),
    ],
)
def test_the_line_of_an_entry_is_said(loaded: config.Config, name: str, approved: bool, said: str) -> None:
    path = save(loaded, "first", record(loaded, approved=approved))
    lines = path.with_suffix(".lines")
    assert ", line" not in lists.Lists(loaded).describe(name)
    lines.write_bytes(LINES["first"])
    assert lists.Lists(loaded).describe(name) == said
    lines.write_bytes(LINES["first"][:-4])
    assert ", line" not in lists.Lists(loaded).describe(name)
    lines.write_bytes(b"")
    assert ", line" not in lists.Lists(loaded).describe(name)


def test_every_list_has_its_say_in_configured_order(loaded: config.Config) -> None:
    save(loaded, "second", record(loaded, serial=9))
    save(loaded, "first", record(loaded))
    assert lists.Lists(loaded).describe("shop.test") == (
        "listed by first serial 7 (itself); listed by second serial 9 (itself)"
    )


def test_names_beyond_ascii_are_mapped(loaded: config.Config) -> None:
    assert lists.wire("Bücher.test") == b"\x0dxn--bcher-kva\x04test\x00"


def test_without_a_list_nothing_is_listed_and_no_key_is_made(loaded: config.Config, tmp_path: Path) -> None:
    assert lists.Lists(loaded).describe("shop.test") == "not listed"
    assert not (tmp_path / "state").exists()


def test_a_withdrawn_list_lists_nothing(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded, withdrawn=True, image=""))
    assert lists.Lists(loaded).describe("shop.test") == "not listed"


def test_a_damaged_image_is_told_by_its_list(loaded: config.Config) -> None:
    path = save(loaded, "first", record(loaded))
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(lists.ListUnreadable, match=r"^first: its saved image cannot be used: "):
        lists.Lists(loaded)


def test_a_damaged_state_is_told(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    (poll.folder_of(loaded, "first") / "state.json").write_text("{" + CANARY)
    with pytest.raises(lists.ListUnreadable) as caught:
        lists.status(loaded)
    assert CANARY not in str(caught.value)


def test_a_state_of_another_account_is_told_with_what_to_do(
    loaded: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: config.Config) -> None:
        raise PermissionError(13, "Permission denied", "state.json")

    monkeypatch.setattr(poll, "read_status", closed)
    with pytest.raises(lists.ListUnreadable) as caught:
        lists.status(loaded)
    directory = loaded.state.directory
    assert str(caught.value) == (
        f"the state below {directory} is not yours to read: run this as root or as the service's account"
    )


@pytest.mark.parametrize(
    ("name", "reserved"),
    [
        ("a.test", True),
        ("TEST.", True),
        ("x.example.com", True),
        ("example.org", True),
        ("test.isp", False),
        ("attest", False),
        ("myexample.com", False),
        ("", False),
    ],
)
def test_reserved_names_are_no_secret(name: str, reserved: bool) -> None:
    assert lists.is_reserved(name) is reserved


def test_status_is_read_by_a_person(loaded: config.Config) -> None:
    waiting = Held(record=record(loaded, serial=8, digest="1" * 64), reasons=("growth",), since=0)
    save(loaded, "first", record(loaded, expires=1_700_864_000), waiting)
    assert lists.status(loaded).splitlines() == [
        "first: serial 7 in force, 4 entries",
        "  issued 2023-11-14T22:13:20Z, in force since 2023-11-14T22:14:20Z",
        "  expires 2023-11-24T22:13:20Z, hard limit 2023-11-24T22:13:20Z",
        "  refused lines: malformed 2",
        "  held: serial 8 (growth); see: list held first",
        "second: no verified list yet",
    ]


def test_status_of_a_withdrawn_list(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded, withdrawn=True, image="", refused={}))
    assert lists.status(loaded).splitlines()[0] == "first: withdrawn by serial 7, nothing is blocked"
    assert lists.status(loaded).splitlines()[3] == "  refused lines: none"


def test_status_is_read_by_a_program(loaded: config.Config) -> None:
    save(loaded, "first", record(loaded))
    first, second = json.loads(lists.status_as_json(loaded))
    assert first == {
        "list": "first",
        "serial": 7,
        "in_force_since": "2023-11-14T22:14:20Z",
        "issued": "2023-11-14T22:13:20Z",
        "expires": None,
        "hard_limit": "2023-11-28T22:13:20Z",
        "entries": 4,
        "withdrawn": False,
        "refused": {"malformed": 2, "tld": 0},
        "held": None,
        "quarantined": 0,
        "fleet": None,
    }
    assert (second["list"], second["serial"], second["entries"]) == ("second", None, 0)
