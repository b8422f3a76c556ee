"""What no client, no edge and no service sends, by seeds that are kept: service and edge stay well (tests.fuzz)."""

from collections.abc import Iterator

import pytest

from tests.fuzz import encrypted
from tests.fuzz.served import Target, standing


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with standing(tmp_path_factory.mktemp("fuzz")) as one:
        yield one


@pytest.mark.parametrize("kind", encrypted.KINDS)
def test_kept_seeds_leave_service_and_edge_well(target: Target, kind: str) -> None:
    before = target.played
    for seed in encrypted.KEPT[kind]:
        encrypted.play(target, kind, seed)
    assert target.played == before + len(encrypted.KEPT[kind])


def test_after_all_of_them_memory_and_metrics_are_as_before(target: Target) -> None:
    assert target.played, "nothing was played"
    target.ends_well()
