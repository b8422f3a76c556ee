"""What of a configuration shows only on this host and in the parts."""

import json
import re
from pathlib import Path

import pytest
import trustme

from resolver.config.config import Config, ConfigError, parse, warnings
from resolver.query import forward
from resolver.service import checks, newcomers
from resolver.service.checks import (
    check,
    check_deadlines,
    check_files,
    check_interfaces,
    missing_addresses,
    new_lists,
    stray_lists,
)
from resolver.service.host import systemd

FILE = """
[listen]
dns = ["127.0.0.1:5300"]
[upstream]
servers = ["192.0.2.53:53", "127.0.0.1:5301"]
[page]
addresses = ["192.0.2.1"]
[[list]]
id = "demo"
demonstration = true
source = { kind = "tuf", url = "file:///srv/a", root = "/srv/root.json" }
"""
PATH = Path("/etc/resolver.toml")


def checked(old: str = "", new: str = "") -> bytes | None:
    assert old in FILE
    page = check(PATH, parse(FILE.replace(old, new), str(PATH)))
    return page.elsewhere["en"].body if page else None


def test_what_is_well_gives_the_page_or_none() -> None:
    assert b"Another" in (checked("[page]", '[page]\noperator = "Another"') or b"")
    assert checked("[page]", "[page]\nlisten = []") is None


@pytest.mark.parametrize(
    ("poll", "deadline", "why"),
    [
        ("10m", "30m", ""),
        ("601s", "30m", "more than a third of the list's deadline (30 min): after one poll that fails"),
        ("30m", "30m", "at most 10 min"),
        ("15m", "24h", ""),
    ],
)
def test_a_poll_that_cannot_meet_the_deadline_is_refused_by_check_config_and_warned_of_at_a_start(
    poll: str, deadline: str, why: str
) -> None:
    text = FILE.replace("demonstration = true", f'demonstration = true\ndeadline = "{deadline}"')
    config = parse(text.replace('kind = "tuf"', f'kind = "tuf", poll = "{poll}"'), str(PATH))
    told = [line for line in warnings(config) if line.startswith("list[0].source.poll is ")]
    check(PATH, config)
    if not why:
        check_deadlines(PATH, config)
        assert told == []
        return
    with pytest.raises(ConfigError, match=re.escape(why)):
        check_deadlines(PATH, config)
    assert why in told[0]


def test_a_nodes_file_of_lists_that_means_nothing_is_warned_of(tmp_path: Path) -> None:
    """A typing mistake would leave a node out of what is missing, and nobody would see it."""
    fleet = f'[fleet]\npublish = "{tmp_path}/out"\nreceipts = "{tmp_path}/in"\nnodes = "{tmp_path}"\n'
    config = parse(FILE.replace("[page]", f"{fleet}[page]"), str(PATH))
    assert stray_lists(config) == ()
    for name, said in (("one", b"demo\n"), ("two", b"dmo\n"), ("three", b"\xff"), ("four", b"demo\n")):
        (tmp_path / f"{name}.lists").write_bytes(said)
        if name != "four":
            (tmp_path / f"{name}.pub").touch()
    told = stray_lists(config)
    assert [line.partition(": ")[2].removeprefix(f"{tmp_path}/") for line in told] == [
        "four.lists: no node has this name: there is no four.pub",
        "three.lists: cannot be read: this node is expected to carry every list",
        "two.lists: 1 of its words are no list of this configuration",
    ]
    assert stray_lists(parse(FILE, str(PATH))) == ()


def test_a_page_that_cannot_be_made_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^/etc/resolver\.toml: page: the texts make a page of more than"):
        checked("[page]", f'[page]\noperator = "{"x" * 40_000}"')


def test_an_upstream_that_is_this_host_is_named_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    # That an address is this host's only the host knows; 192.0.2.53 stands for one here.
    monkeypatch.setattr(forward, "is_ours", lambda host: host == "192.0.2.53")
    with pytest.raises(ConfigError, match=r"^/etc/resolver\.toml: upstream\.servers\[0\]: is this host"):
        checked('"127.0.0.1:5300"', '"0.0.0.0:53"')
    assert checked('"127.0.0.1:5300"', '"0.0.0.0:54"')


def test_an_upstream_of_a_zone_that_is_this_host_is_named_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "is_ours", lambda host: host == "192.0.2.54")
    zone = '[[upstream.zone]]\nname = "corp.test"\nservers = ["192.0.2.53:53", "192.0.2.54:53"]\n[page]'
    text = FILE.replace('"127.0.0.1:5300"', '"0.0.0.0:53"').replace("[page]", zone)
    with pytest.raises(ConfigError, match=r"^/etc/resolver\.toml: upstream\.zone\[0\]\.servers\[1\]: is this host"):
        check(PATH, parse(text, str(PATH)))


def test_an_interface_that_is_missing_is_named_by_its_key() -> None:
    here = parse(FILE.replace("192.0.2.53:53", "[fe80::1%lo]:53"), str(PATH))
    check_interfaces(PATH, here)
    for old, key in (("192.0.2.53:53", "upstream.servers"), ("127.0.0.1:5300", "listen.dns")):
        gone = parse(FILE.replace(old, "[fe80::1%none0]:53"), str(PATH))
        with pytest.raises(ConfigError) as caught:
            check_interfaces(PATH, gone)
        assert str(caught.value).startswith(f"/etc/resolver.toml: {key}[0]: this host has no interface none0")


def test_an_address_that_is_not_this_hosts_is_warned_of() -> None:
    found = parse(FILE.replace('"127.0.0.1:5300"', '"127.0.0.1:5300", "192.0.2.53:54", "0.0.0.0:55"'), str(PATH))
    (line,) = missing_addresses(found)
    assert line.startswith("listen.dns[1]: 192.0.2.53:54 is not an address of this host now")


@pytest.mark.parametrize(
    "name", ["", ".", "two words", "https://shop.test/", "*.shop.test", "a..test", "x" * 64 + ".test", "ab\u2028c.test"]
)
def test_a_protected_name_that_is_none_is_named_by_its_key(name: str) -> None:
    guard = f'guard = {{ protected = ["bank.test", {json.dumps(name)}] }}\nsource ='
    with pytest.raises(ConfigError, match=r"^/etc/resolver\.toml: list\[0\]\.guard\.protected\[1\]: not a domain"):
        checked("source =", guard)


def test_a_protected_name_may_be_written_as_people_do() -> None:
    assert checked("source =", 'guard = { protected = ["Bücher.test", "a_b.test.", "com"] }\nsource =')


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"good.test\n\xff\n", "not UTF-8"),
        ("# a comment\ngood.test\n\u00fc..test\n".encode(), "line 3 does not hold a domain name"),
    ],
)
def test_a_file_of_popular_names_is_looked_at(data: bytes | None, said: str, tmp_path: Path) -> None:
    popular = tmp_path / "popular.csv"
    if data is not None:
        popular.write_bytes(data)
    loaded = parse(FILE.replace("source =", f'guard = {{ popular = "{popular}" }}\nsource ='), str(PATH))
    with pytest.raises(ConfigError) as caught:
        check_files(PATH, loaded)
    assert str(caught.value) == f"/etc/resolver.toml: list[0].guard.popular: {said}"
    popular.write_bytes(b"# rank,name\n1,good.test\n\nother.test # why\n")
    check_files(PATH, loaded)
    # At a start it keeps nothing out of force.
    popular.unlink()
    assert check(PATH, loaded)


def test_the_cas_of_upstreams_are_looked_at(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    loaded = parse(FILE.replace('"127.0.0.1:5301"]', f'"tls://dns.example@192.0.2.53"]\nca = "{ca}"'), str(PATH))
    for data in (None, b"", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
        if data is not None:
            ca.write_bytes(data)
        with pytest.raises(ConfigError, match=r"upstream\.ca: holds no certificate in PEM"):
            check_files(PATH, loaded)
    trustme.CA().cert_pem.write_to_path(ca)
    check_files(PATH, loaded)
    # At a start it keeps nothing out of force.
    ca.unlink()
    assert check(PATH, loaded)


def test_a_folder_is_no_file_of_popular_names(tmp_path: Path) -> None:
    loaded = parse(FILE.replace("source =", f'guard = {{ popular = "{tmp_path}" }}\nsource ='), str(PATH))
    with pytest.raises(ConfigError, match=r"popular: not a file$"):
        check_files(PATH, loaded)


def test_a_state_that_cannot_be_read_is_said_and_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse(FILE.replace("[page]", f'[state]\ndirectory = "{tmp_path}"\n[page]'), str(PATH))
    (said,) = new_lists(config)
    assert said.startswith("list demo has no serial in force yet")

    def denied(_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(newcomers, "lines", denied)
    (said,) = new_lists(config)
    assert said.startswith(f"{tmp_path} cannot be read (Permission denied)")


def configured(source: str, sections: str) -> Config:
    text = FILE.replace('root = "/srv/root.json" }', f'root = "/srv/root.json", {source} }}')
    return parse(sections + text, str(PATH))


def test_folders_that_are_missing_or_closed_are_said(tmp_path: Path) -> None:
    receipts, state = tmp_path / "receipts", tmp_path / "state"
    config = configured(f'receipt = "{receipts}"', f'[fleet]\npublish = "{tmp_path}"\n[state]\ndirectory = "{state}"\n')
    assert checks.unusable_folders(config) == (
        f"list.demo.source.receipt: {receipts} is not there: make it, and give it to the service's account",
    )
    receipts.mkdir()
    state.mkdir()
    assert checks.unusable_folders(config) == ()


def test_folders_that_the_unit_keeps_closed_are_said(tmp_path: Path) -> None:
    config = configured(f'receipt = "{tmp_path}/receipts"', f'[fleet]\npublish = "{tmp_path}/fleet"\n')
    closed = checks.closed_by_the_unit(config, systemd.Unit("blocklist-resolver", True, (f"{tmp_path}/fleet",)))
    assert [line.partition(" is read-only for the unit")[0] for line in closed] == [
        f"list.demo.source.receipt: {tmp_path}/receipts"
    ]
    assert checks.closed_by_the_unit(config, systemd.Unit("blocklist-resolver", True, (str(tmp_path),))) == ()
    assert checks.closed_by_the_unit(config, systemd.Unit("blocklist-resolver", False, ())) == ()
    assert checks.closed_by_the_unit(config, None) == ()
