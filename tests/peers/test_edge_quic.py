"""QUIC of other makes at our edge: HTTP/3 of Chromium, DoQ of Knot's kdig."""

import asyncio
import base64
import hashlib
import re
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificates

from resolver.core import codes
from tests.journeys.running import HOST
from tests.journeys.test_edge_quic import PATIENCE_S, running, until
from tests.peers.test_page_chromium import FLAGS
from tests.unit.edge.quic_lab import AUTHORITY, NAME, QUERY

pytestmark = pytest.mark.timeout(240)  # a browser's start takes what it takes

FIRST_KDIG = (3, 3)
"""Of Debian 13 on; Debian 12's has no QUIC."""


def pin(certificate: Path) -> str:
    """Return the hash of a certificate's key, by which Chromium takes it without its authority."""
    key = load_pem_x509_certificates(certificate.read_bytes())[0].public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@pytest.mark.peers
@pytest.mark.asyncio
async def test_chromium_speaks_http3_with_us(tmp_path: Path, program: Callable[[str], str]) -> None:
    async with running(tmp_path) as edge:
        target = f"{NAME}:{edge.http3}"
        browser = await asyncio.create_subprocess_exec(
            program("chromium"),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--origin-to-force-quic-on={target}",
            f"--host-resolver-rules=MAP {NAME} {HOST}",
            f"--ignore-certificate-errors-spki-list={pin(tmp_path / 'certificate')}",
            f"https://{target}/dns-query?dns={urlsafe_b64encode(QUERY).decode().rstrip('=')}",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            await until(lambda: edge.service.queries)
            assert {(one.transport, one.message) for one in edge.service.queries} == {(codes.DOH, QUERY)}
            await until(lambda: edge.service.reports[-1].connections.get("doh"))
            assert edge.service.reports[-1].refused == {}
        finally:
            browser.kill()
            await browser.wait()


@pytest.fixture
def kdig(program: Callable[[str], str]) -> str:
    """The path of a kdig that has QUIC."""
    found = program("kdig")
    said = subprocess.run([found, "-V"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    assert version is not None, said
    if tuple(map(int, version.groups())) < FIRST_KDIG:
        pytest.skip("this kdig has no QUIC: Debian 13's has")  # In CI too: dnspython asks over QUIC there.
    return found


@pytest.mark.peers
@pytest.mark.asyncio
async def test_kdig_speaks_doq_with_us(tmp_path: Path, kdig: str) -> None:
    (tmp_path / "authority").write_bytes(AUTHORITY.cert_pem.bytes())
    async with running(tmp_path) as edge:
        ask = (f"@{HOST}", f"-p{edge.port}", "+quic", f"+tls-ca={tmp_path / 'authority'}", f"+tls-hostname={NAME}")
        one = await asyncio.create_subprocess_exec(kdig, *ask, "www.example.com", "A", stdout=subprocess.PIPE)
        said, _ = await asyncio.wait_for(one.communicate(), PATIENCE_S)
        assert one.returncode == 0
        assert b"status: NOERROR; id: 0" in said
        assert b"(QUIC)" in said
        assert [query.transport for query in edge.service.queries] == [codes.DOQ]
