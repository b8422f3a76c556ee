"""`[cookies]`: on by default; a file of secrets is read whole or refused, without a word of what is in it."""

from pathlib import Path
from typing import Any

import pytest

from resolver.config import config
from resolver.config.cookies import SecretsUnusable, read_secrets
from tests.journeys.processes import list_of, toml

ONE, OTHER = "e5e973e5a6b2a43f48e7dc849e37bfcf", "dd3bdf9344b678b185a6f5cb60fca715"


def parsed(said: dict[str, Any]) -> config.Config:
    page = {"addresses": ["192.0.2.1"], "operator": "o", "contact": "c", "authority": "a", "law": "l"}
    return config.parse(toml({"page": page, "cookies": said}, [list_of(Path("/srv/authority"))]), "f")


def written(folder: Path, text: str, mode: int = 0o640) -> str:
    path = folder / "secrets"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_answers_have_cookies_of_a_drawn_secret_by_default() -> None:
    assert (parsed({}).cookies.answer, parsed({}).cookies.secrets) == (True, "")
    assert not parsed({"answer": False}).cookies.answer


def test_the_file_is_named_by_its_whole_path() -> None:
    with pytest.raises(config.ConfigError) as caught:
        parsed({"secrets": "secrets"})
    assert caught.value.key == "cookies.secrets"


def test_secrets_keep_their_order(tmp_path: Path) -> None:
    text = f"# of the fleet\n{ONE}\n\n  {OTHER.upper()}  \n"
    assert read_secrets(written(tmp_path, text)) == (bytes.fromhex(ONE), bytes.fromhex(OTHER))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "found 0"),
        ("# nothing\n", "found 0"),
        (f"{ONE[:-1]}\n", "line 1"),
        (f"{ONE}\n{OTHER}0\n", "line 2"),
        (f"{ONE} {OTHER}\n", "line 1"),
        (f"{ONE}\n{ONE.upper()}\n", "twice"),
        ("\n".join(f"{at:032x}" for at in range(5)), "found 5"),
        ("é" * 16, "line 1"),
        ("#" * 5000, "more than"),
    ],
)
def test_a_file_that_is_not_one_of_secrets_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SecretsUnusable, match=why) as caught:
        read_secrets(written(tmp_path, text))
    assert ONE[:8] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o642, 0o641])
def test_a_file_for_everybody_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SecretsUnusable, match="every account"):
        read_secrets(written(tmp_path, ONE, mode))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SecretsUnusable, match="No such file"):
        read_secrets(str(tmp_path / "none"))
