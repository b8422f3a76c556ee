"""A bundle of evidence under tools that are not ours: OpenSSL says whose it is, a real browser prints two pages."""

import asyncio
import base64
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.evidence import bundle, summary
from resolver.evidence.bundle import Bundle
from resolver.signed import statement
from tests.peers.test_page_chromium import chromium, printed_alone
from tests.unit.evidence import april
from tests.unit.evidence.conftest import issued, of_april, written
from tests.unit.evidence.crowded import crowded

__all__ = ["issued", "of_april", "written"]

PAGE = Path(__file__).parents[2] / "deploy" / "reports.md"


def documented() -> str:
    """The commands that the documentation gives an auditor."""
    found = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return next(one for one in found if "may.json" in one)


def test_openssl_and_python_verify_it_as_documented(
    program: Callable[[str], str], written: Path, issued: tuple[bytes, bytes], tmp_path: Path
) -> None:
    program("openssl")
    (tmp_path / "april.json").write_bytes(issued[0])
    (tmp_path / "may.json").write_bytes(issued[1])
    (tmp_path / "host.pem").write_bytes(april.host_key(written))

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-e", "-c", documented()], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

    done = run()
    assert done.returncode == 0, done.stderr
    named, verified, hashed = done.stdout.splitlines()
    assert verified == "Signature Verified Successfully"
    assert named.split()[-1] == hashed.split()[0] == bundle.hash_of(issued[0])
    (tmp_path / "may.json").write_bytes(issued[1].replace(b"resolver-1", b"resolver-2", 1))
    assert run().returncode != 0
    assert "Signature Verified" not in run().stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["a month", "crowded", "so far", "crowded, so far", "quiet"])
async def test_a_browser_prints_two_pages(
    program: Callable[[str], str], of_april: Bundle, tmp_path: Path, kind: str
) -> None:
    told = {
        "a month": of_april,
        "crowded": crowded(of_april),
        "so far": statement_of_so_far(of_april),
        "crowded, so far": statement_of_so_far(crowded(of_april)),
        "quiet": bundle.bundle_of(bundle.statement_of(of_april) | {"lists": (), "receipts": ()}),
    }[kind]
    path, file = program("chromium"), tmp_path / "evidence.html"
    file.write_text(summary.as_html(told, "c" * 64, "ab12" * 4))
    async with chromium(path, tmp_path / "profile", 9) as browser:
        printed = await printed_alone(browser, file.as_uri())
    pdf = await asyncio.to_thread(base64.b64decode, printed)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 2
    boxes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox\s*\[([^]]*)\]", pdf)}
    assert {(round(right), round(top)) for _, _, right, top in boxes} == {(595, 842)}


def statement_of_so_far(one: Bundle) -> Bundle:
    """The same month, told before it was over."""
    said = bundle.statement_of(one) | {"complete": False, "chain": None, "through": "2025-04-29"}
    return bundle.bundle_of(said)


def test_the_key_is_the_one_that_openssl_reads(program: Callable[[str], str], written: Path, tmp_path: Path) -> None:
    pem = tmp_path / "host.pem"
    pem.write_bytes(april.host_key(written))
    told = subprocess.run(
        [program("openssl"), "pkey", "-pubin", "-in", pem, "-outform", "DER"], capture_output=True, check=True
    )
    assert told.stdout[-32:] == statement.pinned_of(pem.read_bytes())
