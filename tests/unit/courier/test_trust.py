"""Who is verified: by name and CA, or by a key; and that nothing is sent to anybody else."""

import ssl
import warnings
from datetime import datetime

import pytest
import trustme

from resolver.config.values import Encrypted
from resolver.courier import trust
from resolver.courier.trust import Trust, pin_of
from resolver.query.courier_frames import Reason, Settings
from tests.fakes.sealed import NAME, serving
from tests.unit.courier.sealing import TABLE, Authority, answered, asking, at, both, failed, query
from tests.unit.query.parts import until


@pytest.mark.asyncio
@pytest.mark.parametrize("https", [False, True], ids=["tls", "https"])
async def test_a_server_is_asked_only_if_its_certificate_is_good(authority: Authority, https: bool) -> None:
    other = trustme.CA()
    cases: list[tuple[trustme.LeafCert, str, tuple[str, ...], Reason]] = [
        (authority.certificate("other.example"), str(authority.file), (), Reason.OTHER_NAME),
        (other.issue_cert(NAME), str(authority.file), (), Reason.UNTRUSTED),
        (authority.certificate(), "", (), Reason.UNTRUSTED),
        (authority.certificate(), "/nonexistent/ca.pem", (), Reason.NO_CA),
        (authority.certificate(), str(authority.file), ("A" * 43 + "=",), Reason.OTHER_KEY),
    ]
    for certificate, ca, pins, expected in cases:
        async with (
            serving(TABLE, certificate, https=https) as server,
            asking(Settings(at(server, https=https), pins, ca)) as (one, service),
        ):
            one.ask(1, query())
            assert (await failed(service, 1))[0] == expected
            assert server.seen == [], "not one query is sent"


@pytest.mark.asyncio
async def test_a_pinned_key_is_enough(authority: Authority) -> None:
    certificate = trustme.CA().issue_cert("whatever.example")
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    async with (
        serving(TABLE, certificate) as server,
        asking(Settings(at(server), ("B" * 43 + "=", pin_of(der)))) as (one, service),
    ):
        one.ask(1, query())
        await answered(service, 1)
        server.drop_now()
        await until(lambda: not one.connections)
        one.ask(2, query())
        await answered(service, 2)
        assert server.resumed == 1, "and it is compared again when a session is resumed"


@pytest.mark.asyncio
async def test_the_dates_of_a_certificate_count(authority: Authority) -> None:
    past, future = "2020-01-01", "2099-01-01"
    for begins, ends, expected in ((past, "2020-02-01", Reason.EXPIRED), (future, "2099-02-01", Reason.NOT_YET)):
        dates = {"not_before": datetime.fromisoformat(begins), "not_after": datetime.fromisoformat(ends)}
        certificate = authority.ca.issue_cert(NAME, **dates)
        async with (
            serving(TABLE, certificate) as server,
            asking(Settings(at(server), ca=str(authority.file))) as (one, service),
        ):
            one.ask(1, query())
            assert (await failed(service, 1))[0] == expected
            assert server.seen == []


@pytest.mark.asyncio
async def test_a_common_name_does_not_count(authority: Authority) -> None:
    certificate = authority.ca.issue_cert("other.example", common_name=NAME)
    async with (
        serving(TABLE, certificate) as server,
        asking(Settings(at(server), ca=str(authority.file))) as (one, service),
    ):
        one.ask(1, query())
        assert await failed(service, 1) == (Reason.OTHER_NAME, 0)


@pytest.mark.asyncio
async def test_an_old_tls_or_another_protocol_is_refused(authority: Authority) -> None:
    for https, alpn, is_old, expected in (
        (False, "dot", True, Reason.TLS),
        (True, "http/1.1", False, Reason.NO_HTTP2),
    ):
        async with (
            serving(TABLE, authority.certificate(), https=https, alpn=alpn) as server,
            asking(Settings(at(server, https=https), ca=str(authority.file))) as (one, service),
        ):
            if is_old:
                with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                    server.context.minimum_version = ssl.TLSVersion.TLSv1
                    server.context.maximum_version = ssl.TLSVersion.TLSv1_1
            one.ask(1, query())
            assert (await failed(service, 1))[0] == expected
            assert server.seen == []


@pytest.mark.asyncio
async def test_a_session_is_resumed_for_a_while_and_then_verified_again(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both(authority) as (server, one, service):
        for number, (seconds, resumed) in enumerate(((3600.0, 0), (3600.0, 1), (0.0, 1), (3600.0, 2))):
            monkeypatch.setattr(trust, "SESSION_S", seconds)
            one.ask(number, query())
            await answered(service, number)
            assert server.resumed == resumed
            server.drop_now()
            await until(lambda: not one.connections)


def test_no_context_lacks_a_check(authority: Authority) -> None:
    for pins in ((), ("A" * 43 + "=",)):
        one = Trust(Settings(at_nothing(), pins, str(authority.file)))
        context = one.begin(ssl.MemoryBIO(), ssl.MemoryBIO()).context
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert (context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname) == (pins == ())
    assert pin_of(b"no certificate") == ""


def at_nothing() -> Encrypted:
    return Encrypted("192.0.2.53", 853, "tls", NAME, "")
