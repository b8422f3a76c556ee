"""The fetch process of a file with a minisign signature, from inside."""

import os
from collections.abc import Iterator
from pathlib import Path

import minisign
import pytest
import trustme
from msgspec.structs import replace

from resolver.config.lists import List, Source
from resolver.feed import detail_text, processes
from resolver.feed.details import Place
from resolver.feed.fetch import file as source_file
from resolver.feed.messages import Facts, FetchRequest
from resolver.feed.reasons import Reason
from resolver.feed.sandbox import Failed
from resolver.feed.transport import Transport
from tests.fakes.https import Server

NOW = 1795608000.0
"""2026-11-25T12:00:00Z"""
LIST = b"# 1f\na.test\nb.test\n"
SAYS = "serial=7 not-after=2026-12-01T00:00:00Z"


class Publisher:
    """Signs files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.pair = minisign.KeyPair.generate()
        (folder / "key.pub").write_bytes(bytes(self.pair.public_key) + b"\n")

    def publish(self, says: str = SAYS, data: bytes = LIST, *, prehash: bool = True) -> None:
        (self.folder / "list").write_bytes(data)
        signature = self.pair.secret_key.sign(data, trusted_comment=says, prehash=prehash)
        (self.folder / "list.minisig").write_bytes(bytes(signature) + b"\n")


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    publisher = Publisher(tmp_path / "authority")
    publisher.publish()
    return publisher


@pytest.fixture
def request_of(publisher: Publisher, tmp_path: Path) -> Iterator[FetchRequest]:
    output = processes.memory_file("list")
    yield FetchRequest(
        list_id="demo",
        parent=os.getpid(),
        output=output,
        url=(publisher.folder / "list").as_uri(),
        root=str(publisher.folder / "key.pub"),
        target="",
        metadata=str(tmp_path / "metadata"),
        ca="",
        certificate="",
        key="",
        max_bytes=1000,
        memory_bytes=2**31,
        seconds=20.0,
    )
    os.close(output)


def fetched(request: FetchRequest) -> Facts:
    told: list[Facts] = []
    assert source_file.fetch(request, lambda facts: not told.append(facts), lambda: NOW)
    return told[0]


def failing(request: FetchRequest) -> str:
    def never(facts: Facts) -> bool:
        raise AssertionError("facts that must not be told")

    with pytest.raises(Failed) as error:
        source_file.fetch(request, never, lambda: NOW)
    assert os.fstat(request.output).st_size == 0
    return error.value.reason


def test_a_list_that_verifies(request_of: FetchRequest) -> None:
    facts = fetched(request_of)
    assert os.pread(request_of.output, 1000, 0) == LIST
    assert (facts.custom.serial, facts.custom.issued, facts.custom.expires) == (7, 0, 1796083200)
    assert facts.custom.list == "demo"
    assert facts.fresh_until == facts.custom.expires
    assert facts.length == len(LIST)


def test_all_that_may_be_said(request_of: FetchRequest, publisher: Publisher) -> None:
    publisher.publish(SAYS + " issued=2026-11-25T06:00:00Z entries=2 list=demo withdrawn by=nobody")
    custom = fetched(request_of).custom
    assert (custom.issued, custom.entries, custom.withdrawn) == (1795586400, 2, True)


def test_what_is_not_wanted_is_not_written(request_of: FetchRequest) -> None:
    assert not source_file.fetch(request_of, lambda facts: False, lambda: NOW)
    assert os.fstat(request_of.output).st_size == 0


def test_another_key_is_another_set_of_keys(request_of: FetchRequest, tmp_path: Path) -> None:
    other = Publisher(tmp_path / "other")
    other.publish()
    first = fetched(request_of)
    root = str(other.folder / "key.pub")
    assert failing(replace(request_of, output=processes.memory_file("x"), root=root)) == Reason.TAMPERED
    second = fetched(replace(request_of, root=root, url=(other.folder / "list").as_uri()))
    assert first.targets_keys != second.targets_keys


@pytest.mark.parametrize(
    "says",
    [
        "serial=7",
        "not-after=2026-12-01T00:00:00Z",
        "serial=0 not-after=2026-12-01T00:00:00Z",
        "serial=7 serial=8 not-after=2026-12-01T00:00:00Z",
        "serial=7 not-after=2026-12-01",
        "timestamp:1795608000\tfile:list\thashed",
    ],
)
def test_a_comment_that_does_not_say_enough(says: str, request_of: FetchRequest, publisher: Publisher) -> None:
    publisher.publish(says)
    assert failing(request_of) == Reason.MALFORMED


def test_a_list_past_its_end(request_of: FetchRequest, publisher: Publisher) -> None:
    publisher.publish("serial=8 not-after=2026-11-25T12:00:00Z")
    assert failing(request_of) == Reason.EXPIRED


def test_a_changed_byte_of_anything_signed(request_of: FetchRequest, publisher: Publisher) -> None:
    signature = publisher.folder / "list.minisig"
    whole = signature.read_bytes()
    signature.write_bytes(whole.replace(b"serial=7", b"serial=8"))
    assert failing(request_of) == Reason.TAMPERED
    signature.write_bytes(whole)
    (publisher.folder / "list").write_bytes(LIST + b"c.test\n")
    assert failing(request_of) == Reason.TAMPERED
    (publisher.folder / "list").write_bytes(LIST[:7])
    assert failing(request_of) == Reason.TAMPERED


def test_a_signature_of_the_older_form(request_of: FetchRequest, publisher: Publisher) -> None:
    """With it the hash of a signed file would itself pass for a signed file."""
    publisher.publish(prehash=False)
    assert failing(request_of) == Reason.MALFORMED


@pytest.mark.parametrize("signature", [b"", b"<html>\n", b"untrusted comment: x\n\n\n\n", b"\xff\n\n\n\n"])
def test_what_is_no_signature(signature: bytes, request_of: FetchRequest, publisher: Publisher) -> None:
    (publisher.folder / "list.minisig").write_bytes(signature)
    assert failing(request_of) == Reason.MALFORMED


def test_what_is_missing_or_too_large(request_of: FetchRequest, publisher: Publisher) -> None:
    assert failing(replace(request_of, max_bytes=len(LIST) - 1)) == Reason.OVERSIZED
    (publisher.folder / "list.minisig").unlink()
    assert failing(request_of) == Reason.NOT_SIGNED
    (publisher.folder / "list").unlink()
    assert failing(request_of) == Reason.UNREACHABLE
    assert failing(replace(request_of, root="/nowhere")) == Reason.ROOT_UNUSABLE
    (publisher.folder / "key.pub").write_text("not a key\n")
    assert failing(request_of) == Reason.ROOT_UNUSABLE


def test_a_csv_says_its_serial_twice(request_of: FetchRequest, publisher: Publisher) -> None:
    rows = b"7;2026-11-25T06:00:00Z\n;a.test;;\n"
    publisher.publish(data=rows)
    assert fetched(replace(request_of, format="csv")).format == "csv"
    for other in (rows.replace(b"7;", b"8;"), b"a.test\n"):
        publisher.publish(data=other)
        assert failing(replace(request_of, output=processes.memory_file("x"), format="csv")) == Reason.MALFORMED


def test_over_https_with_a_client_certificate(
    request_of: FetchRequest, publisher: Publisher, tmp_path: Path
) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pem = tmp_path / "client.pem"
    ca.issue_cert("isp.test").private_key_and_cert_chain_pem.write_to_path(str(pem))
    with Server(publisher.folder, ca, clients=True) as server:
        without = replace(request_of, url=f"{server.url}/list", ca=str(tmp_path / "ca.pem"))
        assert failing(without) == Reason.UNREACHABLE
        assert fetched(replace(without, certificate=str(pem), key=str(pem))).custom.serial == 7
        (publisher.folder / "list.minisig").unlink()
        assert failing(replace(without, output=processes.memory_file("x"), certificate=str(pem), key=str(pem))) == (
            Reason.NOT_SIGNED
        )


def test_what_is_wrong_with_a_signature_is_named(request_of: FetchRequest, publisher: Publisher) -> None:
    """Key, form, content, words, date: two words, `malformed` and `tampered`, once stood for all of them."""
    signature = str(publisher.folder / "list.minisig")

    def told(request: FetchRequest) -> str:
        with pytest.raises(Failed) as error:
            source_file.fetch(request, lambda _: True, lambda: NOW)
        one = List(id="demo", source=Source(kind="file", url=request.url, root=request.root, format=request.format))
        return f"{error.value.reason}: {detail_text.text(error.value.detail, one)}"

    other = publisher.folder.parent / "other.pub"
    other.write_bytes(bytes(minisign.KeyPair.generate().public_key) + b"\n")
    assert told(replace(request_of, root=str(other))) == (
        f"tampered: {signature} is by another key than the one in source.root"
    )
    (publisher.folder / "list").write_bytes(LIST + b"c.test\n")
    assert told(request_of).startswith(f"tampered: {signature} does not fit the file: ")
    publisher.publish(prehash=False)
    assert told(request_of).startswith(f"malformed: {signature} is of minisign's old form")
    publisher.publish("serial=7 not-after=2026-11-01T00:00:00Z")
    assert told(request_of) == f"expired: {signature} ended on 2026-11-01T00:00:00Z"
    publisher.publish("serial=7")
    assert told(request_of) == f"malformed: {signature}: the field `not-after` is missing"
    publisher.publish("not-after=2026-12-01T00:00:00Z")
    assert told(request_of) == f"malformed: {signature}: the field `serial` is missing"
    publisher.publish(data=b"8;2026-11-25T06:00:00Z\n;a.test;;\n")
    assert told(replace(request_of, format="csv")) == "malformed: the signed serial and that in the list differ"
    Path(signature).write_bytes(b"x")
    assert told(request_of) == f"malformed: {signature} does not have the form that it must have"
    Path(signature).unlink()
    assert told(request_of) == f"not_signed: {signature} does not exist: the list is not signed"
    assert told(replace(request_of, root="/nowhere")) == "root_unusable: /nowhere: No such file or directory"
    (publisher.folder / "key.pub").write_bytes(b"x")
    assert "holds no public key of the kind" in told(request_of)


def test_files_replaced_between_the_two_reads_are_read_again(
    request_of: FetchRequest, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is replaced first, then the signature: a reader in between had the old list and the new signature."""
    real, urls = Transport.read, []

    def read(transport: Transport, url: str, most: int, *place: Place) -> bytes:
        data = real(transport, url, most, *place)
        urls.append(url)
        if len(urls) == 1:
            publisher.publish("serial=8 not-after=2026-12-01T00:00:00Z", b"c.test\n")
        return data

    monkeypatch.setattr(Transport, "read", read)
    assert fetched(request_of).custom.serial == 8
    assert os.pread(request_of.output, 100, 0) == b"c.test\n"
    assert len(urls) == 4


def test_files_that_stay_apart_are_read_no_third_time(
    request_of: FetchRequest, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, urls = Transport.read, []

    def read(transport: Transport, url: str, most: int, *place: Place) -> bytes:
        urls.append(url)
        return real(transport, url, most, *place)

    monkeypatch.setattr(Transport, "read", read)
    (publisher.folder / "list").write_bytes(b"c.test\n")
    assert failing(request_of) == Reason.TAMPERED
    assert len(urls) == 4
