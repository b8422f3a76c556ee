"""What blocklists/README.md promises: its examples are read as a resolver reads them, its tables are whole."""

import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import dns.name
import dns.rdatatype
import dns.zone
import pytest

from resolver.authority import convert, recipients
from resolver.cli import main
from resolver.config import config
from resolver.core import codes, transfer
from resolver.count.metrics import METRICS
from resolver.feed import fleet_receipts, guard, notify, outbox, poll, processes, receipt, release
from resolver.feed.fetch import file as source_file
from resolver.feed.fetch import zone as source_zone
from resolver.feed.messages import FetchRequest
from resolver.feed.names import read, read_csv, read_master, read_zone
from resolver.feed.reasons import Reason, Refusal, SetAside
from resolver.signed import header, metadata, statement
from tests.fakes.primary import Record, message
from tests.unit.feed.test_state import record

ROOT = Path(__file__).parents[1]
README = (ROOT / "blocklists/README.md").read_text()
PSL = read.suffixes()
ISSUED, EXPIRES = 1795586400, 1796796000


def section(title: str) -> str:
    """The text below a heading, up to the next one of its rank or above."""
    rank = title.split(" ")[0]
    text = README.partition(f"\n{title}\n")[2]
    assert text, title
    return re.split(rf"^#{{2,{len(rank)}}} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def example(name: str) -> str:
    """A complete example: the indented block behind its mark."""
    block = README.partition(f"<!-- example: {name} -->\n\n")[2]
    assert block.startswith("    "), name
    lines = re.match(r"(?:(?:    .*)?\n)+", block)
    assert lines is not None
    return "\n".join(line.removeprefix("    ") for line in lines[0].rstrip("\n").split("\n")) + "\n"


def rows(text: str) -> list[list[str]]:
    """The words between backticks of each row's first cell."""
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return [re.findall(r"`([^`]+)`", cell) for cell in first[1:]]


def scopes(found: read.Entries) -> dict[str, int]:
    """Each name and its bits."""
    names, at, told = found.names, 0, {}
    for bits in memoryview(found.flags).cast("H"):
        labels = []
        while size := names[at]:
            labels.append(names[at + 1 : at + 1 + size].decode())
            at += size + 1
        at += 1
        told[".".join(labels)] = told.get(".".join(labels), 0) | bits
    return told


WHOLE, ALONE = codes.BLOCK_SELF | codes.BLOCK_BELOW, codes.BLOCK_SELF


def test_the_plain_list() -> None:
    data = example("plain").encode()
    said = header.of_plain(data)
    assert (said.serial, said.issued) == (412, ISSUED)
    found = read.read(data, PSL, demonstration=True, max_entries=99)
    assert scopes(found) == {
        "name.example": WHOLE,
        "shop.example": ALONE,
        "help.name.example": codes.EXCEPT_SELF | codes.EXCEPT_BELOW,
        "only.help.example": codes.EXCEPT_SELF,
        "xn--bcher-kva.example": WHOLE,
    }
    assert found.refused_lines == {"url": (8,), "address": (9,), "tld": (10,), "several_words": (12,)}
    assert read.read(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"), PSL, demonstration=True, max_entries=99) == found


def test_the_csv() -> None:
    data = example("csv").encode()
    said = header.of_csv(data)
    assert (said.serial, said.issued, said.withdrawn) == (412, ISSUED, False)
    found = read_csv.read_csv(data, PSL, demonstration=True, max_entries=99)
    names = ("name.example", "other.example", "xn--bcher-kva.example", "quoted.example")
    assert scopes(found) == dict.fromkeys(names, WHOLE)
    assert found.refused_lines == {"url": (6,), "disagrees": (7,), "malformed": (8,)}


def test_the_minisign_signature() -> None:
    data, signature, key = (example(f"minisign {part}").encode() for part in ("list", "signature", "key"))
    request = FetchRequest(
        parent=1,
        output=-1,
        list_id="court",
        url="",
        root="",
        target="",
        metadata="",
        ca="",
        certificate="",
        key="",
        max_bytes=1000,
        memory_bytes=1,
        seconds=1.0,
    )
    facts = source_file.facts_of(request, source_file.PublicKey.from_bytes(key), data, signature)
    assert (facts.custom.serial, facts.custom.issued, facts.custom.expires) == (412, ISSUED, EXPIRES)
    assert scopes(read.read(data, PSL, demonstration=True, max_entries=9)) == {
        "name.example": WHOLE,
        "shop.example": ALONE,
    }


def test_the_custom_of_a_target() -> None:
    custom = metadata.custom_of(json.loads(example("custom").replace('"ID"', '"court"')))
    assert (custom.serial, custom.withdrawn, custom.entries) == (42, False, 1234)
    named = {word for row in rows(section("## How it is signed")) for word in row}
    assert named >= set(metadata.Custom.__struct_fields__)


def zone_records() -> list[Record]:
    """The records of the example of a zone, in the order in which it has them."""
    zone = dns.zone.from_text(example("zone"), origin="rpz.example.", relativize=True, check_origin=False)
    found = [
        (str(owner), dns.rdatatype.to_text(data.rdtype), str(one.to_text(origin=None, relativize=False)))
        for owner, data in zone.iterate_rdatasets()
        for one in data
    ]
    opening = [one for one in found if one[1] == "SOA"]
    return [*opening, *(one for one in found if one[1] != "SOA"), *opening]


def test_the_zone() -> None:
    origin = dns.name.from_text("rpz.example.")
    sent = message(zone_records(), question="AXFR").to_wire()
    taken = transfer.Transfer(origin.to_digestable())
    assert transfer.walk(sent, len(sent), taken) == transfer.SOUND
    assert (taken.closed, taken.serial) == (1, 412)
    lines = taken.lines()
    found = read_zone.read_zone(lines, PSL, demonstration=True, max_entries=99)
    assert scopes(found) == {
        "name.example": WHOLE,
        "shop.example": ALONE,
        "help.name.example": codes.EXCEPT_SELF,
    }
    assert found.refused_lines == {"trigger": (7,), "action": (8,)}
    assert f"`{source_zone.digest_of(origin, lines)}`" in section("### What a record means")


def test_the_same_zone_as_a_master_file() -> None:
    data = example("zone").encode()
    found = read_master.read_master(data, PSL, demonstration=True, max_entries=99)
    assert read_master.soa_serial(data) == 412
    assert scopes(found) == {
        "name.example": WHOLE,
        "shop.example": ALONE,
        "help.name.example": codes.EXCEPT_SELF,
    }
    # Lines of the file, where the zone that is transferred has records.
    assert found.refused_lines == {"trigger": (9,), "action": (10,)}
    listed = {word for row in rows(section("### A list in another format")) for word in row}
    assert listed == set(convert.FORMATS)


def keys_of(text: str) -> list[str]:
    """The keys of a statement as it is written down."""
    return re.findall(r'"(\w+)":', text)


def a_receipt() -> dict[str, Any]:
    return receipt.receipt(
        record(7), list_id="x", host="x", at=0, head=(1, ""), tested=None, proof=None
    )


def test_the_receipt() -> None:
    pinned = statement.pinned_of(example("host key").encode())
    said = statement.verified(example("receipt").encode(), pinned)
    assert (said["kind"], said["list"], said["serial"], said["issued"]) == ("receipt", "court", 412, ISSUED)
    assert said["digest"] == hashlib.sha256(example("plain").encode()).hexdigest()
    assert said["refused_lines"] == {"url": [8], "address": [9], "tld": [10], "several_words": [12]}
    assert list(said) == list(a_receipt())
    assert sorted(word for row in rows(section("## Receipts")) for word in row if word[0] != "[") == sorted(said)


def test_the_other_statements() -> None:
    text = section("## What the operator may override")
    about = release.Covered(list="x", serial=1, digest="")
    one = release.Release(number=1, covered=(about,), uid=0, reason="", at=0, until=0, image="", digest_key="")
    told = release.statement_of("x", one, about)
    assert keys_of(text.partition('{"kind": "release"')[2].partition("}")[0]) == list(told)[1:]
    made = fleet_receipts.made(record(7), fleet_receipts.Reports({"a": 1}, 1), list_id="x", host="x", at=0)
    assert (
        keys_of(text.partition('{"kind": "fleet receipt"')[2].partition("}")[0] + '}, "tested": "caveat":')
        == (list(made)[1:])
    )


def test_every_reason_is_told() -> None:
    refused = {word for row in rows(section("### Lines that are refused")) for word in row}
    assert refused == set(Refusal)
    assert {word for row in rows(section("### Lines that are set aside")) for word in row} == set(SetAside)
    does = section("## What a resolver does with it")
    assert {word for row in rows("| reason |" + does.partition("| reason |")[2]) for word in row} == set(Reason)
    held = " ".join(line for line in does.splitlines() if "| holds it (" in line)
    assert set(re.findall(r"`(\w+)`", held.replace("`withdrawn` |", "").replace("`on_entry", ""))) == set(guard.Hold)


def test_the_limits_are_those_of_the_code() -> None:
    text = section("## Limits")

    def told(*numbers: float) -> None:
        for number in numbers:
            assert f"{number:,g}" in text or f"{int(number):,}" in text, number

    mib = 2**20
    told(config.MAX_TARGET_BYTES / mib, config.MAX_ENTRIES, read.MAX_LINE_BYTES, read.MAX_LINE_NUMBERS)
    told(config.MAX_TARGET_BYTES * 3 / 2 / mib, header.MAX_FIRST_LINE, source_file.MAX_SIGNATURE_BYTES / 1024)
    told(metadata.MAX_ROOT_BYTES, metadata.MAX_TARGETS_BYTES, metadata.MAX_SNAPSHOT_BYTES, metadata.MAX_TIMESTAMP_BYTES)
    told(metadata.MAX_ROOT_ROTATIONS, recipients.MAX_RECIPIENTS, recipients.MAX_TARGET_LETTERS, codes.MAX_LISTS)
    told(processes.FETCH_SECONDS, processes.COMPILE_SECONDS, notify.MAX_NOTICE_OCTETS, release.MAX_RELEASES)
    told(statement.MAX_STATEMENT_BYTES / mib, release.LEAST_S / 3600, release.MOST_S / 86400)
    assert f"within {poll.POST_SECONDS:.0f} seconds" in README
    assert f"again after {2 * outbox.FIRST_PAUSE_S} seconds" in README
    assert f"every {outbox.LONGEST_PAUSE_S // 60} minutes at last" in README
    assert (notify.MOST_READ_A_SECOND, notify.PAUSE_S) == (5, 1.0)


def test_what_the_operator_sees_is_there() -> None:
    metrics = {one.name for one in METRICS}
    table = section("## What each side learns, and when").splitlines()
    seen = [line.split("|")[3] for line in table if line[:2] == "| "]
    named = {word for cell in seen for word in re.findall(r"`(\w+)`", cell)}
    assert len(named) >= 10
    assert named - {"alarm_age"} <= metrics
    assert {
        one.removeprefix("blocklist_resolver_") for one in re.findall(r"`(blocklist_resolver_\w+)", README)
    } <= metrics


def test_the_terms_name_keys_that_are_there() -> None:
    terms = section("## The terms")
    commented = (ROOT / "deploy/resolver.toml").read_text()
    named = re.findall(r"\(`(\w+)[`\s=]", terms)
    assert len(named) >= 7
    for key in named:
        assert re.search(rf"^#?{key} = ", commented, re.MULTILINE), key
    assert terms.count("`[") >= 25


@pytest.mark.parametrize(
    "line", [line.strip() for line in README.splitlines() if line.startswith("    blocklist-resolver authority ")]
)
def test_a_command_is_one(line: str) -> None:
    words = shlex.split(line)[1:]
    assert main.parser_of(authority=True).parse_args(words).step == words[1]


def test_every_link_leads_somewhere() -> None:
    headings = re.findall(r"^#{2,3} (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    for place in re.findall(r"\]\(([^)]+)\)", README):
        if place.startswith("#"):
            assert place[1:] in anchors, place
        elif not place.startswith("https://"):
            assert (ROOT / "blocklists" / place.partition("#")[0]).exists(), place
