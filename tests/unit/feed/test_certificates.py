"""The first end of all certificates that sources need."""

from datetime import UTC, datetime
from pathlib import Path

import trustme

from resolver.config.config import Source
from resolver.feed.certificates import End, ends, first_end


def source(**files: str) -> Source:
    return Source(kind="tuf", url="https://authority.example/lists", root="/srv/root.json", **files)  # type: ignore[arg-type]  # paths


def test_the_first_end_counts(tmp_path: Path) -> None:
    ca = trustme.CA()
    ends = (datetime(2030, 1, 2, tzinfo=UTC), datetime(2029, 1, 2, tzinfo=UTC))
    paths = []
    for number, end in enumerate(ends):
        path = tmp_path / f"{number}.pem"
        ca.issue_cert("resolver.example", not_after=end).private_key_and_cert_chain_pem.write_to_path(str(path))
        paths.append(str(path))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    sources = [source(certificate=path, key=path) for path in paths]
    assert first_end(sources[:1]) == ends[0].timestamp()
    assert first_end([*sources, source(ca=str(tmp_path / "ca.pem"))]) == ends[1].timestamp()


def test_of_a_source_each_file_tells_its_end(tmp_path: Path) -> None:
    ca, end = trustme.CA(), datetime(2030, 1, 2, tzinfo=UTC)
    path = tmp_path / "feed.pem"
    ca.issue_cert("resolver.example", not_after=end).private_key_and_cert_chain_pem.write_to_path(str(path))
    found = ends(source(certificate=str(path), key=str(path), ca=str(tmp_path / "missing.pem")))
    assert found == (End("certificate", str(path), int(end.timestamp())),)


def test_without_certificates_there_is_no_end(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    assert first_end([source()]) is None
    assert first_end([source(ca=str(tmp_path / "none.pem")), source(ca=str(tmp_path / "missing.pem"))]) is None
