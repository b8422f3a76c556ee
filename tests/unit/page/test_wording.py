"""The texts: one file a language with every key, words alone, true words, and plain enough for a child of thirteen."""

import re
import tomllib
from pathlib import Path

import pytest
import textstat

from resolver.config.page import PURPOSES
from resolver.page import wording
from resolver.page.wording import PLACEHOLDERS, TextFault, Texts, languages, parse, sentences

FILES = {path.stem: path.read_text() for path in (Path(wording.__file__).parent / "texts").glob("*.toml")}
ENGLISH = ("en", "en-simple")
MOST_GRADE = 8
FEW_WORDS = 8
"""A text of fewer words is a label or a heading, of which a formula for sentences says nothing."""

# "Anonymous" and "untraceable", in each language: nobody who connects to an address is.
NEVER = r"anon[iyí]m|anoniem|анонім|مجهول|مجهّل|الهوي|untrace|nobody is told|niemand erfährt|isimsiz|gizli kal"


def test_these_are_the_languages() -> None:
    expected = {"en", "nl", "de", "fr", "es", "it", "pl", "uk", "tr", "ar", "en-simple"}
    assert set(languages()) == set(FILES) == expected
    assert {tag for tag, texts in languages().items() if texts.direction == "rtl"} == {"ar"}
    names = [texts.name for texts in languages().values()]
    assert len(set(names)) == len(names)


def keys(table: object, key: str = "") -> set[str]:
    """The paths of all keys of a file; the places in a list are no keys."""
    if not isinstance(table, dict):
        return {key}
    return {path for name, inner in table.items() for path in keys(inner, f"{key}.{name}")}


def test_every_file_has_the_same_keys_and_as_many_sentences_in_each() -> None:
    wanted = tomllib.loads(FILES["en"])
    for tag, text in FILES.items():
        assert keys(tomllib.loads(text)) == keys(wanted), tag
    counts = {
        tag: {purpose: (len(one.about), len(one.steps)) for purpose, one in texts.purposes.items()}
        for tag, texts in languages().items()
    }
    assert all(one == counts["en"] for one in counts.values()), counts


def test_what_is_empty_is_empty_in_every_language() -> None:
    said = {tag: {re.sub(r"\[\d+\]", "", key) for key, _ in sentences(texts)} for tag, texts in languages().items()}
    assert all(one == said["en"] for one in said.values())
    for texts in languages().values():
        for purpose, one in texts.purposes.items():
            assert bool(one.steps) == bool(one.steps_heading), purpose
            assert bool(one.strong) == (purpose == "child-abuse"), purpose


def test_it_never_promises_what_it_cannot_keep() -> None:
    for tag, text in FILES.items():
        assert not re.search(NEVER, text, re.IGNORECASE), tag


def test_only_the_text_for_child_abuse_names_children() -> None:
    stems = r"\bchild|\bkinder|\benfant|\bmenor|\bniñ|\bminor|\bbambin|\bdziec|діт|çocuk|طفل|أطفال"
    words = re.compile(stems, re.IGNORECASE)
    for tag, texts in languages().items():
        for key, said in sentences(texts):
            if not key.startswith(("purposes.child-abuse", "help.")):
                assert not words.search(said), (tag, key)
        assert words.search(texts.purposes["child-abuse"].lead), tag


def test_the_script_is_that_of_the_language() -> None:
    """A text that was copied from another language and forgotten stands out by its letters, or by being equal."""
    scripts = {"ar": r"[\u0600-\u06ff]", "uk": r"[\u0400-\u04ff]"}
    for tag, script in scripts.items():
        assert all(re.search(script, said) for _, said in sentences(languages()[tag])), tag
    for tag, texts in languages().items():
        others = {said for other in languages().values() if other is not texts for _, said in sentences(other)}
        alike = {said for _, said in sentences(texts) if said in others and len(said.split()) >= FEW_WORDS}
        if tag not in ENGLISH:
            assert alike == set(), tag


def written(texts: Texts, purpose: str) -> str:
    """All that a visitor of one purpose reads."""
    ours = (f"purposes.{purpose}.", "frame.", "records.", "mistake.", "who.", "help.")
    return " ".join(said if said[-1] in ".?!" else f"{said}." for key, said in sentences(texts) if key.startswith(ours))


@pytest.mark.parametrize("tag", ENGLISH)
def test_each_english_text_is_read_at_grade_8_or_below(tag: str) -> None:
    texts = languages()[tag]
    grades = {purpose: textstat.flesch_kincaid_grade(written(texts, purpose)) for purpose in PURPOSES}
    long = {key: said for key, said in sentences(texts) if len(said.split()) >= FEW_WORDS}
    grades |= {key: textstat.flesch_kincaid_grade(said) for key, said in long.items()}
    assert {key: grade for key, grade in grades.items() if grade > MOST_GRADE} == {}


def test_easy_english_is_easier() -> None:
    for purpose in PURPOSES:
        easy, plain = (textstat.flesch_kincaid_grade(written(languages()[tag], purpose)) for tag in ("en-simple", "en"))
        assert easy < plain
        assert easy < 4


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('tag = "en"', 'tag = "nl"', "tag: expected en, the name of the file"),
        ('chat = "Chat"\n', "", "Object missing required field `chat` - at `$.help`"),
        ('chat = "Chat"', 'chat = "Chat"\nvideo = "Video"', "Object contains unknown field `video` - at `$.help`"),
        ('chat = "Chat"', 'chat = ""', "Expected `str` of length >= 1 - at `$.help.chat`"),
        ('chat = "Chat"', 'chat = "{contact}"', "help.chat: no placeholder and no markup belongs here"),
        ('chat = "Chat"', 'chat = "<b>Chat"', "help.chat: no placeholder and no markup belongs here"),
        ('hours = "Open: {hours}"', 'hours = "Open"', "help.hours: expected one {hours}"),
        ('hours = "Open: {hours}"', 'hours = "{hours} {hours}"', "help.hours: expected one {hours}"),
        ("[purposes.other]", "[purposes.games]", "purposes: expected child-abuse, court-order,"),
        ("[frame]", "[frame", "Expected ']' at the end of a table declaration"),
    ],
)
def test_a_file_that_lacks_a_word_is_named_with_its_key(old: str, new: str, reason: str) -> None:
    assert FILES["en"].count(old) == 1
    with pytest.raises(TextFault) as refused:
        parse(FILES["en"].replace(old, new), "en")
    assert str(refused.value).startswith(f"en.toml: {reason}")


def test_every_placeholder_stands_in_a_text() -> None:
    said = dict(sentences(languages()["en"]))
    assert {key: f"{{{name}}}" in said[key] for key, name in PLACEHOLDERS.items()} == dict.fromkeys(PLACEHOLDERS, True)
