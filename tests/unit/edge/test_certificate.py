"""The certificate of an edge: what is taken, what is not, and what the log says."""

import logging
import os
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509

from resolver.edge.certificate import Certificate, Unusable
from tests.unit.edge.certificates import NAME, NOW, Files, Secret

USES = {"tls": ("dot",), "https": ("h2", "http/1.1")}


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now

    def go(self, days: float) -> None:
        self.now += 86400 * days


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.issue()
    return found


def made(files: Files, clock: Clock) -> Certificate:
    return Certificate(str(files.certificate), str(files.key), NAME, USES, clock)


def shown(context: ssl.SSLContext, *alpn: str) -> tuple[bytes | None, str | None]:
    """The certificate that a client sees, and the protocol that it gets."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context.wrap_bio(ours, theirs, server_side=True)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(list(alpn))
    here = client.wrap_bio(theirs, ours)
    for _ in range(4):
        for one in (here, there):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return here.getpeercert(binary_form=True), here.selected_alpn_protocol()


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (b"\x30\x0b\x82\x09a.example", ("a.example",)),
        (b"\x30\x03\xa3\x01\0", ()),  # an address of X.400
        (b"\x30\x05\x82\x03a\xff.", ()),
    ],
)
def test_names_that_nobody_reads_are_none_and_the_certificate_is_looked_at_again(
    files: Files, clock: Clock, names: bytes, taken: tuple[str, ...]
) -> None:
    files.issue_with(names)
    found = made(files, clock)
    assert (found.pair.names, bool(found.fault)) == (taken, True)
    files.issue()
    found.look()
    assert (found.pair.names, found.fault) == ((NAME,), "")
    files.issue_with(names)
    found.look()
    assert found.pair.names == (NAME,)


def test_each_use_has_its_protocols(files: Files, clock: Clock) -> None:
    found = made(files, clock)
    assert shown(found.contexts["tls"], "dot", "h2")[1] == "dot"
    assert shown(found.contexts["https"], "http/1.1", "h2")[1] == "h2"
    assert shown(found.contexts["https"], "http/1.1")[1] == "http/1.1"
    assert shown(found.contexts["tls"])[0] == shown(found.contexts["https"])[0]
    assert found.pair.expires == int((NOW + timedelta(days=90)).timestamp())
    assert (found.pair.names, found.fault) == ((NAME,), "")


def test_a_renewed_pair_is_taken_when_the_files_change(
    files: Files, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found, told = made(files, clock), []
    found.changed.append(told.append)
    old = found.contexts["tls"]
    first = shown(old)
    found.look()
    assert found.contexts["tls"] is old
    files.issue(days=120)
    found.look()
    assert shown(found.contexts["tls"])[0] != first[0]
    assert shown(old) == first, "a connection that began keeps what it has"
    assert told == [found.pair]
    assert caplog.messages == ["edge.certificate: in use until 2027-03-29 00:00 UTC"]


class Mounted:
    """A certificate in the volume of a Secret. issue: a version of it with another pair, as cert-manager writes it."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._volume = Secret(folder)
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.issue()

    def issue(self, days: float = 90) -> None:
        begins, ends = (NOW + timedelta(days=one) for one in (-1, days))
        made = self._authority.issue_cert(NAME, not_before=begins, not_after=ends)
        chain = b"".join(one.bytes() for one in made.cert_chain_pems)
        self._volume.write(tls_crt=chain, tls_key=made.private_key_pem.bytes())


def mounted(secret: Mounted, clock: Clock) -> Certificate:
    return Certificate(str(secret.certificate), str(secret.key), NAME, USES, clock)


def test_a_secret_that_kubelet_renews_is_taken_by_itself(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The names are the same links as before; what they lead to is another folder, and the one before is gone."""
    caplog.set_level(logging.INFO)
    secret = Mounted(tmp_path)
    found = mounted(secret, clock)
    before = shown(found.contexts["tls"])[0]
    found.look()
    assert caplog.messages == []
    links = [os.lstat(path).st_ino for path in (secret.certificate, secret.key)]
    secret.issue(days=120)
    assert [os.lstat(path).st_ino for path in (secret.certificate, secret.key)] == links
    found.look()
    assert shown(found.contexts["tls"])[0] != before
    assert caplog.messages == ["edge.certificate: in use until 2027-03-29 00:00 UTC"]


def test_a_secret_that_is_renewed_while_it_is_read_is_read_again(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between certificate and key, and between what TLS and what the log takes: they always belong together."""
    secret = Mounted(tmp_path)
    found = mounted(secret, clock)
    parse, load, renewals = x509.load_pem_x509_certificates, ssl.SSLContext.load_cert_chain, [130.0, 140.0]

    def late_for_the_key(one: ssl.SSLContext, certificate: str, key: str, password: Any) -> None:
        old = tmp_path / "old"
        old.write_bytes(Path(certificate).read_bytes())
        if len(renewals) == 2:
            secret.issue(renewals.pop(0))
        load(one, old, key, password)

    def late_for_the_log(octets: bytes) -> list[x509.Certificate]:
        if len(renewals) == 1:
            secret.issue(renewals.pop(0))
        return parse(octets)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", late_for_the_key)
    monkeypatch.setattr(x509, "load_pem_x509_certificates", late_for_the_log)
    secret.issue(120)
    found.look()
    assert (renewals, caplog.messages) == ([], [])
    last = NOW + timedelta(days=140)
    assert found.pair.expires == int(last.timestamp())
    der = shown(found.contexts["tls"])[0]
    assert der
    assert x509.load_der_x509_certificate(der).not_valid_after_utc == last


def test_half_a_renewal_is_not_taken_and_the_whole_one_is(
    files: Files, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    found = made(files, clock)
    before, key = found.contexts["tls"], files.key.read_bytes()
    files.issue(days=120)
    new_key = files.key.read_bytes()
    files.spoil(files.key, key)
    found.look()
    found.look()
    assert found.contexts["tls"] is before
    (line,) = caplog.messages
    assert line == (
        f"edge.key: {files.key}: is not the key of {files.certificate}; renew both together; "
        "the certificate before stays in use"
    )
    files.spoil(files.key, new_key)
    found.look()
    assert found.contexts["tls"] is not before


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (b"", "expected PEM, the key without a passphrase"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "expected PEM"),
        (None, "there is no such file"),
    ],
)
def test_what_cannot_be_read_is_not_taken(
    files: Files, clock: Clock, caplog: pytest.LogCaptureFixture, spoilt: bytes | None, said: str
) -> None:
    found = made(files, clock)
    before = found.contexts
    if spoilt is None:
        files.certificate.unlink()
    else:
        files.spoil(files.certificate, spoilt)
    assert not found.reload()
    assert found.contexts is before
    (line,) = caplog.messages
    assert said in line
    assert str(files.certificate) in line
    with pytest.raises(Unusable, match=r"edge\.certificate"):
        made(files, clock)


def test_a_key_with_a_passphrase_is_refused_and_nothing_is_asked_for(files: Files, clock: Clock) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(Unusable, match="without a passphrase"):
        made(files, clock)


@pytest.mark.parametrize(
    ("names", "days", "begins", "said"),
    [
        ((NAME,), -1, -90, "expired on 2026-11-28 00:00 UTC"),
        ((NAME,), 90, 1, "not valid before 2026-11-30 00:00 UTC"),
        (("other.example.test",), 90, -1, "is not for dns.example.test (edge.name)"),
    ],
)
def test_a_pair_that_verifying_clients_refuse_serves_at_a_start_and_replaces_no_better_one(
    files: Files,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    names: tuple[str, ...],
    days: float,
    begins: float,
    said: str,
) -> None:
    better = made(files, clock)
    before = better.contexts
    files.issue(*names, days=days, begins=begins)
    better.look()
    assert better.contexts is before
    assert caplog.messages == [
        f"edge.certificate: {files.certificate}: {said}; the certificate before stays in use"
    ]
    caplog.clear()
    found = made(files, clock)
    assert found.fault == said
    assert caplog.messages == [
        f"edge.certificate: {files.certificate}: {said}: clients that verify do not connect, others do; renew it"
    ]
    assert shown(found.contexts["tls"])[0]
    files.issue()
    found.look()
    assert found.fault == ""


@pytest.mark.parametrize("name", ["*.example.test", "DNS.example.TEST"])
def test_a_wildcard_and_other_letters_are_the_name(files: Files, clock: Clock, name: str) -> None:
    files.issue(name)
    assert made(files, clock).fault == ""


def test_an_end_is_announced_a_fortnight_before_and_then_hourly(
    files: Files, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    found = made(files, clock)
    clock.go(75.9)
    found.look()
    assert caplog.messages == []
    clock.go(0.2)
    found.look()
    found.look()
    ends = f"edge.certificate: {files.certificate}: ends on 2027-02-27 00:00 UTC; renew it"
    assert caplog.messages == [ends]
    clock.go(1 / 24)
    found.look()
    assert caplog.messages == [ends, ends]
    clock.go(20)
    found.look()
    assert "expired on" in caplog.messages[-1]


def test_files_that_change_all_the_time_are_not_taken(
    files: Files, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = made(files, clock)
    numbers = iter(range(100))
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path: os.stat_result((0, 0, 0, 0, 0, 0, next(numbers), 0, 0, 0)))
        assert not found.reload()
    assert "changes while it is read" in caplog.messages[0]


def test_of_tls_1_2_only_what_hides_the_past_is_offered(files: Files, clock: Clock) -> None:
    context = made(files, clock).contexts["tls"]
    old = {one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"}
    assert old
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in old)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
