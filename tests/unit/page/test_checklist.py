"""The checklist: each sentence has a source, each source a sentence, and the file is of these texts."""

import re
from pathlib import Path

import pytest

from resolver.page import checklist as checklist_module
from resolver.page.checklist import checklist, main, rows, sources
from resolver.page.wording import languages, sentences

ROOT = Path(__file__).parents[3]
ENGLISH = ROOT / "deploy" / "page-checklist.md"


def test_the_file_is_the_checklist_of_these_texts() -> None:
    said = "make it again: python -m resolver.page.checklist en > deploy/page-checklist.md"
    assert ENGLISH.read_text() == checklist(languages()["en"]), said


@pytest.mark.parametrize("tag", languages())
def test_each_sentence_has_a_source_and_stands_in_the_checklist(tag: str) -> None:
    texts = languages()[tag]
    found = list(rows(texts))
    assert [key for key, _, source in found if not source] == []
    assert {source for _, _, source in found} == set(sources()), "each source has a sentence, in each language"
    lines = checklist(texts).splitlines()
    read = [line.split(" | ")[1] for line in lines if line.startswith("| ☐ |")]
    shown = [sentence for key, sentence, _ in found if not key.startswith("missing.")]
    assert sorted(read) == sorted(shown)
    whole = " ".join(shown)
    assert all(text in whole for key, text in sentences(texts) if key != "name" and not key.startswith("missing."))


def test_what_a_person_has_to_decide_names_the_person() -> None:
    for key, one in sources().items():
        assert ("operator's" in one.source) <= bool(one.check), key
        assert one.source.endswith("."), key


def test_tests_and_documents_that_are_named_are_there() -> None:
    named = {path for one in sources().values() for path in re.findall(r"\b[\w/]+\.(?:py|md)\b", one.source)}
    assert len(named) >= 4
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_language_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["EN-SIMPLE"]) == 0
    assert capsys.readouterr().out == checklist(languages()["en-simple"])
    for arguments in ([], ["tlh"], ["en", "nl"]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, "languages: de, en-simple, en, es," in err) == ("", True)


def test_a_key_is_covered_by_the_longest_that_begins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    one = checklist_module.Source((), "x.")
    for known, expected in (
        ({"a", "a.b", "a.b[1]", "a.b[1].2"}, "a.b[1].2"),
        ({"a", "a.b", "a.b[1]"}, "a.b[1]"),
        ({"a", "a.b", "a.b[0]"}, "a.b"),
        ({"a", "b"}, "a"),
        ({"b"}, ""),
    ):
        monkeypatch.setattr(checklist_module, "sources", lambda known=known: dict.fromkeys(known, one))
        assert checklist_module.covering("a.b[1].2") == expected
