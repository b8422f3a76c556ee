"""Which values a key accepts."""

import pytest

from resolver.config.choices import of_key
from resolver.config.config import Config


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("list[0].basis", ("contract", "statute")),
        ("list[3].source.kind", ("file", "image", "openpgp", "tuf", "zone")),
        ("list[...].source.format", ("csv", "plain", "rpz")),
        ("list[0].expire", ("keep", "lift")),
        ("upstream.order", ("balanced", "listed")),
        ("list[0].id", ()),
        ("list[0].nothing", ()),
        ("nothing", ()),
        ("", ()),
    ],
)
def test_the_words_that_a_key_accepts(path: str, words: tuple[str, ...]) -> None:
    assert tuple(sorted(of_key(Config, path))) == words
