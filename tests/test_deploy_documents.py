"""The documents around the page name files, tests, keys and links that exist; what is the operator's is marked."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCUMENTS = [
    DEPLOY / "helpdesk.md",
    DEPLOY / "helplines.md",
    DEPLOY / "page" / "README.md",
    *sorted((DEPLOY / "legal").glob("*.md")),
]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(DEPLOY)))
OPERATORS = "REPLACE-ME"
COLUMNS = ["kind", "text", "phone", "chat or url", "hours", "who", "source", "date"]
KINDS = {"young", "worried", "report"}
_KEY = re.compile(r"`\[{1,2}([\w.]+)\]{1,2}(?: (\w+))?`")


def configured() -> dict[str, set[str]]:
    """Section to its keys, as deploy/resolver.toml explains them; options at their default are comments there."""
    found: dict[str, set[str]] = {}
    section = ""
    for line in (DEPLOY / "resolver.toml").read_text().splitlines():
        if head := re.match(r"\[+([\w.]+)\]+$", line):
            section = head[1]
            found.setdefault(section, set())
        elif key := re.match(r"#?(\w+) = ", line):
            found[section].add(key[1])
    return found


@each_document
def test_what_it_links_to_and_names_is_there(document: Path) -> None:
    text = document.read_text()
    for name in re.findall(r"\]\(([^):#]+)(?:#[\w-]+)?\)", text):
        assert (document.parent / name).exists(), name
    for name, test in re.findall(r"`((?:deploy|resolver|tests)/[\w./@-]*\w/?)(?:::(\w+))?`", text):
        path = ROOT / name
        assert path.exists(), name
        assert not test or f"def {test}(" in path.read_text(), test


@each_document
def test_keys_that_it_names_are_those_of_the_configuration(document: Path) -> None:
    sections = configured()
    for section, key in _KEY.findall(document.read_text()):
        known = sections.get(section)
        if known is None:  # As `help` of [page]: a key that is a list of tables.
            parent, _, name = section.rpartition(".")
            assert name in sections[parent], section
        else:
            assert not key or key in known, f"{section}.{key}"


@each_document
def test_it_promises_no_more_than_there_is(document: Path) -> None:
    text = document.read_text()
    assert not re.search(r"anonym", text, re.IGNORECASE)
    assert not re.search(r"\b(?:TBD|TODO|FIXME|XXX)\b", text)
    # One mark alone for what is the operator's, so that a search finds all of it.
    assert not re.search(r"REPLACE[ _]ME|<[A-Z][\w -]*>|\[(?:YOUR|INSERT)", text)


@pytest.mark.parametrize("name", ["data-flows.md", "privacy-statement.md", "record.md"])
def test_a_claim_names_what_holds_it_or_is_marked(name: str) -> None:
    """A row of a table with a column "held by" has a file there, or is the operator's, or is about him alone."""
    rows, columns = [], []
    for line in (DEPLOY / "legal" / name).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            columns = []
        elif not columns:
            columns = cells
        elif columns[-1] == "held by" and not set(line) <= set("|- "):
            rows.append(cells)
    assert rows
    held = [row for row in rows if re.search(r"`[\w/.-]+\.\w+", row[-1])]
    others = [row[0] for row in rows if row not in held and OPERATORS not in "".join(row)]
    # What is no claim about the program.
    assert set(others) <= {"treatment of IP addresses", "purposes", "persons concerned"}, others
    assert len(held) >= len(rows) / 2


def test_every_suggestion_of_help_has_a_source_and_a_date() -> None:
    text = (DEPLOY / "helplines.md").read_text()
    body, _, sources = text.partition("\n## Sources\n")
    numbers = set(re.findall(r"^- (\[\d+\]) \S", sources, re.MULTILINE))
    addresses = re.findall(r"^- \[\d+\].*https?://\S+|^- \[\d+\] \S.*\n  .*https?://\S+", sources, re.MULTILINE)
    assert len(addresses) == len(numbers)
    lines = [line.strip("|") for line in body.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    offers = [row for row in rows if row != COLUMNS]
    assert len(rows) - len(offers) == body.count("\n## ")
    assert {row[0] for row in offers} == KINDS
    for row in offers:
        named = dict(zip(COLUMNS, row, strict=True))
        assert named["text"], row
        assert named["phone"] or named["chat or url"], row
        cited = set(re.findall(r"\[\d+\]", named["source"]))
        assert cited, row
        assert cited <= numbers, row
        assert re.search(r"\b20[0-2]\d\b", named["date"]), row
    used = set(re.findall(r"\[\d+\]", body))
    assert numbers == used
    assert "Verify each" in text


def test_the_example_of_an_offer_is_read_as_toml() -> None:
    example = re.search(r"((?:^    .*\n)+)", (DEPLOY / "helplines.md").read_text(), re.MULTILINE)
    assert example
    (offer,) = tomllib.loads(re.sub(r"^    ", "", example[1], flags=re.MULTILINE))["page"]["help"]
    assert offer["kind"] in KINDS
    assert {offer[key] for key in offer if key != "kind"} == {OPERATORS}
