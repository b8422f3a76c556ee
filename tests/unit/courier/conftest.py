"""One CA for all tests of this room."""

import pytest

from tests.unit.courier.sealing import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))
