"""Names say what a thing is, and texts are plain technical English: words and phrases that a reader must decode fail.

Rules:
- Names of files, classes and functions use no word that fits anything (BANNED).
- Docstrings, comments and string literals of the package, and the documents, use none of FAULTS; the reason beside each
  names the plain word.
- A function's docstring starts with a verb: it says what the function does.
- A noun behind a count comes from one function (`config.values.many`): nobody reads "1 entries".
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "resolver"
BANNED = {"manager", "handler", "helper", "util", "utils", "common", "base", "misc"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

FAULTS: Final[dict[str, str]] = {
    r"anew": "again; start again",
    r"besides": "also; beside",
    r"ha(?:s|ve|d) (?:its|their|a|no) say": "applies; is enforced",
    r"without (?:its|their|a) say": "not enforced",
    r"let .{1,30} have (?:its|their) say": "apply; enforce",
    r"c[ao]mes? of it": "result",
    r"c[ao]mes? to (?:its|the|that) (?:sums?|totals?|seconds)": "the sum is",
    r"what .{1,20} comes? to": "the sum of; the total",
    r"(?:tells?|told|telling)(?! (?:[\w'-]+ ){0,4}apart)": "shows; reports; logs; states",
    r"who asks": "the client; the user",
    r"by whom": "name the person",
    r"(?:who|whom|whose)ever": "name the person or the process",
    r"gives? way to": "is closed for; is replaced by",
    r"be it": "also if; whether",
    r"for to": "because; to",
    r"for (?:it|they|he|she|nothing|nobody) (?:is|are|was|were|has|have|could|would)": "because",
    r"at hand": "known; available",
    r"is put beside": "is renamed",
    r"let go": "accepted; closed",
    r"(?:speaks?|spoken|spoke) of": "is about; names",
    r"held against": "compared with; checked",
    r"to be had": "available; usable",
    r"put up with": "accept",
    r"where (?:there (?:is|are|was|were)|that|this|either|neither|no|none|nothing|nobody|one)": "if",
    r"where it (?:is (?:no|none|not)|has (?:no|none)|cannot|could not|does not|did not|holds no|fell|fails)": "if",
    r"where (?:they|these) (?:are (?:no|none|not)|cannot|do not)": "if",
    r"(?:else|otherwise) where": "if",
    r"(?:the )?law's time": "the deadline",
    r"(?:lest|thereof|whereof|whilst|albeit|hence|thereby)": "plain words",
}
"""Pattern to what to write in its place; a blank stands for any white space, and a pattern matches whole words."""

_COMPILED: Final = {
    re.compile(rf"\b(?:{fault})\b".replace(" ", r"\s+"), re.IGNORECASE): instead for fault, instead in FAULTS.items()
}
_NO_VERB: Final = re.compile(r"(?:What|Who|Whose|How|Why|When|Where|Which)\b")
_LINE_START: Final = re.compile(r"\n[ \t]*(?:#:?|//|\*)?[ \t]*")

DOCUMENTS: Final = (
    "*.md",
    "Makefile",
    "pyproject.toml",
    "blocklists/*.md",
    "deploy/**/*.md",
    "deploy/**/*.toml",
    "deploy/**/*.yml",
    "deploy/systemd/*",
    "resolver/*.md",
    "resolver/**/*.pxd",
    "resolver/**/*.c",
    "resolver/**/*.txt",
    "resolver/**/report.schema.json",
)


class Fault(NamedTuple):
    """A phrase, and what to write instead."""

    path: str
    line: int
    found: str
    instead: str


def banned_in(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)} & BANNED


def names_of(source: str) -> list[str]:
    """Names of the classes and functions that `source` defines."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def texts_of(source: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) of every string literal, and of every block of comments, of Python source.

    A literal that is one identifier is a key, not a text.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            yield node.lineno, node.value
    block: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != block[-1][0] + 1:
            yield block[0][0], "\n".join(text for _, text in block)
            block = []
        block.append((token.start[0], token.string.lstrip("#: ")))
    if block:
        yield block[0][0], "\n".join(text for _, text in block)


def docstrings_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, docstring) of every function of Python source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            yield node.lineno, text


def faults_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line from 0, phrase, what to write instead) of every fault in a text; line breaks are blanks."""
    plain = _LINE_START.sub("\n", text)
    for pattern, instead in _COMPILED.items():
        for found in pattern.finditer(plain):
            yield plain.count("\n", 0, found.start()), " ".join(found[0].split()), instead


def faults_of(path: Path) -> Iterator[Fault]:
    """Yield every fault of a file, Python or a document."""
    name, source = str(path.relative_to(ROOT)), path.read_text()
    tree = ast.parse(source) if path.suffix == ".py" else None
    for first, text in [(1, source)] if tree is None else texts_of(source, tree):
        for line, found, instead in faults_in(text):
            yield Fault(name, first + line, found, instead)
    for line, text in () if tree is None else docstrings_of(tree):
        if found := _NO_VERB.match(text):
            yield Fault(name, line, found[0], "start with a verb")


def files() -> list[Path]:
    """Return all files whose texts are checked."""
    code = [*PACKAGE.rglob("*.py"), *ROOT.glob("deploy/**/*.py")]
    documents = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern) if path.is_file()}
    generated = {path for path in documents if path.suffix == ".c" and path.parent.name in ("core", "engine")}
    return sorted({*code, *documents} - generated)


def test_no_name_uses_a_word_that_fits_anything() -> None:
    found = {
        path.relative_to(PACKAGE): [name for name in names if banned_in(name)]
        for path in sorted(PACKAGE.rglob("*.py"))
        for names in [[path.stem, path.parent.name, *names_of(path.read_text())]]
    }
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("name", ["ListManager", "query_handler", "utils", "BASE", "_misc_things"])
def test_a_banned_word_is_found(name: str) -> None:
    assert banned_in(name)


@pytest.mark.parametrize("name", ["database", "baseline", "handled", "management"])
def test_a_word_that_only_contains_one_is_not(name: str) -> None:
    assert not banned_in(name)


def test_names_are_read_from_classes_and_functions() -> None:
    assert names_of("class A:\n    async def b(self): ...\ndef c(): ...") == ["A", "c", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "signs it anew",
        "the list has its say",
        "what is told of it",
        "Where there is none, it asks",
        "# a failed compile comes\n    # of it",
        "the speed, for it is measured",
    ],
)
def test_a_phrase_that_must_be_decoded_is_found(text: str) -> None:
    assert list(faults_in(text))


@pytest.mark.parametrize(
    "text", ["renewed", "so that attempts can be told apart", "the folder where they are", "for its own list"]
)
def test_plain_words_are_not(text: str) -> None:
    assert not list(faults_in(text))


def test_every_text_of_a_source_is_read() -> None:
    source = 'A = f"one {A} two" + B["told"]\n\n\n'
    source += 'def f():\n    """What it is."""\n    # three\n    # four\n    g()  # five\n'
    tree = ast.parse(source)
    assert sorted(texts_of(source, tree)) == [(1, " two"), (1, "one "), (5, "What it is."), (6, "three\nfour\nfive")]
    assert list(docstrings_of(tree)) == [(4, "What it is.")]


def test_a_line_of_a_fault_is_that_in_the_file() -> None:
    assert list(faults_in("a\nb\n# signed\n# anew")) == [(3, "anew", "again; start again")]


_PLURAL = re.compile(
    r" (?:more )?(?:entries|exceptions|lines|lists|files|receipts|signatures|sockets|releases|attempts|days|requests"
    r"|hosts|nodes)\b"
)


def plurals_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every plural that is put behind a value by hand.

    A bound in capitals is never 1, and `N of M lines` is a plural for every N.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and ast.unparse(node.left) == "'s'":
            yield node.lineno, ast.unparse(node)
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.Constant):
                before = str(value.value)
            elif isinstance(text, ast.Constant) and (found := _PLURAL.match(str(text.value))):
                bound = re.search(r"\b[A-Z][A-Z_]+\b", ast.unparse(value))
                if bound is None and not before.endswith(" of "):
                    yield node.lineno, found[0]


def test_a_noun_behind_a_count_comes_from_one_function() -> None:
    assert [text for _, text in plurals_of(ast.parse("f'{a} entries'; f'{a} of {b} hosts'; f'{MOST} days'"))] == [
        " entries"
    ]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in PACKAGE.rglob("*.py")
        for line, text in plurals_of(ast.parse(path.read_text()))
    ]
    assert not found, "\n".join(found)


def test_texts_are_plain() -> None:
    found = [fault for path in files() for fault in faults_of(path)]
    assert not found, "\n".join(f"{one.path}:{one.line}: {one.found!r}: {one.instead}" for one in found)
