"""The made-up host, written once: each test gets a copy to change."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.config import config
from resolver.evidence import bundle, collect, month
from resolver.evidence.bundle import Bundle
from resolver.feed import seal
from resolver.signed import statement
from tests.unit.evidence import april

Change = Callable[[Bundle], Bundle]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host as it was written; not to be changed."""
    folder = tmp_path_factory.mktemp("april")
    april.write(folder)
    return folder


@pytest.fixture
def host(written: Path, tmp_path: Path) -> Path:
    """A copy of the host; its configuration is `resolver.toml`."""
    shutil.copytree(written / "state", tmp_path / "state")
    april.configured(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def issued(written: Path) -> tuple[bytes, bytes]:
    """The signed bundles of April and of May, the second chained to the first."""
    loaded = config.load(written / "resolver.toml")
    key = seal.host_key(written / "state", make=False)
    first = collect.collect(
        loaded,
        month.whole("2025-04"),
        bundle.Chain(number=1, before=None, previous_month=None),
        None,
        version="1.2.3",
        now=april.NOW,
    )
    signed = statement.sign(bundle.statement_of(first), key)
    name = bundle.Issue(number=1, month="2025-04", sha256=bundle.hash_of(signed))
    second = collect.collect(
        loaded,
        month.whole("2025-05"),
        bundle.Chain(number=2, before=name, previous_month=name),
        first.audit.end,
        version="1.2.3",
        now=april.NOW,
    )
    assert not (written / "state/evidence").exists()
    return signed, statement.sign(bundle.statement_of(second), key)


@pytest.fixture(scope="session")
def of_april(issued: tuple[bytes, bytes]) -> Bundle:
    """What the bundle of April says."""
    return bundle.bundle_of(statement.claimed(issued[0])[0])


@pytest.fixture(scope="session")
def signed_again(written: Path) -> Callable[[Bundle], bytes]:
    """Signs a bundle with the host's own key, as whoever holds the key could."""
    key = seal.host_key(written / "state", make=False)
    return lambda one: statement.sign(bundle.statement_of(one), key)
