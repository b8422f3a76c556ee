"""Lists the questions of `setup`, and judges each answer by the rules of the configuration.

Rules:
- A question is one key of the configuration. What an answer may be is said by config/ and service/checks alone: an
  answer is put into a whole file, with stand-ins for what is not answered yet, and the file is checked.
- Every question is a flag too. One without a default must be answered: nobody's telephone number, law or key is made
  up here.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from resolver.cli import setup_file
from resolver.config import config
from resolver.config.lists import PURPOSES
from resolver.config.page import CHILD_ABUSE, FOR_PERSONS, TEXTS

Answers = Mapping[str, Any]
"""Key of the configuration, without an index (`list.source.url`), to its value as TOML has it."""

NONE: Final = "none"
"""What is typed for an empty list that is meant."""


class Question(NamedTuple):
    """One question.

    says: what is asked, in plain words. default: of what is typed, or made from the answers before; None if there is
    none. many: several values, separated by spaces; the flag is given again for each. asked: whether it is asked, or
    only a flag. only: whether the answers before make it one.
    """

    key: str
    flag: str
    metavar: str
    says: str
    default: str | Callable[[Answers], str | None] | None = None
    many: bool = False
    asked: bool = True
    only: Callable[[Answers], bool] = lambda _: True


def _of_kind(*kinds: str) -> Callable[[Answers], bool]:
    return lambda so_far: so_far.get("list.source.kind", "tuf") in kinds


def _for_practice(default: str) -> Callable[[Answers], str | None]:
    """Return what makes a default for a list of reserved names, and none for a real one."""
    return lambda so_far: default if so_far.get("list.demonstration") else None


def _page_listen(so_far: Answers) -> str:
    return " ".join(f"[{one}]:80" if ":" in one else f"{one}:80" for one in so_far.get("page.addresses", ()))


QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        "listen.dns",
        "--listen",
        "ADDR:PORT",
        "The addresses and ports at which your clients' queries arrive, over UDP and TCP.",
        "127.0.0.1:53 [::1]:53",
        many=True,
    ),
    Question(
        "listen.allow",
        "--allow",
        "PREFIX",
        "The prefixes of your clients; queries from any other address are refused.",
        "127.0.0.0/8 ::1/128",
        many=True,
    ),
    Question(
        "upstream.servers",
        "--upstream",
        "ADDR:PORT",
        "The resolvers that answer all other names; they should validate DNSSEC. Nothing: those of /etc/resolv.conf.",
        "",
        many=True,
    ),
    Question(
        "list.id",
        "--list-id",
        "ID",
        "A short name for the authority's list: letters a to z, digits and hyphens. It is the only word about the list "
        "in metrics.",
    ),
    Question(
        "list.demonstration",
        "--demonstration",
        "yes|no",
        "Is the list only for practice, with reserved names such as those of .test? A real list holds none of those.",
        "no",
    ),
    Question(
        "list.purpose",
        "--purpose",
        "PURPOSE",
        f"What the list is for; it decides what visitors read: {', '.join(PURPOSES)} (a neutral text).",
    ),
    Question(
        "page.addresses",
        "--page-address",
        "ADDR",
        "The addresses that blocked names resolve to; the warning page is reached there. One of IPv4, and one of IPv6 "
        "if you have IPv6 clients.",
        many=True,
    ),
    Question(
        "page.listen",
        "--page-listen",
        "ADDR:PORT",
        "The addresses and ports of the page on this host; none if another web server shows it.",
        _page_listen,
        many=True,
    ),
    Question("page.operator", "--operator", "TEXT", "Your name, as visitors know you."),
    Question(
        "page.contact",
        "--contact",
        "TEXT",
        "How a visitor who believes that a block is a mistake reaches you: a mail address, a web address, a telephone "
        "number.",
    ),
    Question("page.authority", "--authority", "TEXT", "The name of the authority that supplies the list."),
    Question("page.law", "--law", "TEXT", "The law or the agreement that the block is based on."),
    Question(
        "page.flow_records",
        "--flow-records",
        "WHAT",
        "What your network records of visits to the page's addresses, as the page then says: none, exempted (it "
        "records connections, but not those) or kept.",
        _for_practice(NONE),
    ),
    Question(
        "page.help",
        "--offer",
        "KIND;NAME;ADDRESS",
        f"An offer of help that the page shows, of the kind {' or '.join(FOR_PERSONS)} (report and other may follow): "
        "KIND;NAME;ADDRESS, which is a telephone number or a web address.",
        _for_practice(NONE),
        many=True,
        only=lambda so_far: so_far.get("list.purpose") == CHILD_ABUSE,
    ),
    Question(
        "list.expire",
        "--expire",
        "keep|lift",
        "If the list is past its end and no new one has come: keep blocking, with an alarm, or lift it.",
        _for_practice("keep"),
    ),
    Question(
        "list.source.kind",
        "--kind",
        "KIND",
        "How the authority delivers the list: tuf (a repository of The Update Framework), openpgp, file (with a "
        "minisign signature), zone (a response policy zone), or image (from your own compile host).",
        "tuf",
    ),
    Question("list.source.url", "--source", "URL", "The address from which the list is fetched."),
    Question(
        "list.source.root",
        "--root",
        "FILE",
        "The file with the authority's key: for tuf its root.json. Only lists that verify with it are accepted.",
    ),
    Question(
        "list.source.identity",
        "--identity",
        "PATH",
        "Our key for decryption: for openpgp the GnuPG home, for tuf a file of age.",
        lambda so_far: None if so_far.get("list.source.kind") == "openpgp" else "",
        asked=False,
        only=_of_kind("openpgp", "tuf"),
    ),
    Question(
        "list.hard_limit",
        "--hard-limit",
        "14d",
        "How old the list may become when its feed is silent; a source of this kind does not state it.",
        only=_of_kind("openpgp", "zone"),
    ),
    Question(
        "list.guard.protected",
        "--protected",
        "NAME",
        "Names that no list may block, with all names below and above them: your own domains, and vital ones of your "
        "customers; none for none.",
        many=True,
    ),
    Question(
        "rehearsal.name",
        "--rehearsal",
        "NAME",
        "A name below a domain of your own, not in use, that is blocked so that you can try the whole way at any time, "
        "such as block-test.isp.example; nothing for none.",
        "",
    ),
    Question(
        "count.region",
        "--region",
        "WORD",
        "The region of these resolvers, a label of the metrics; nothing for none.",
        "",
    ),
    Question(
        "list.source.receipt",
        "--receipts",
        "FOLDER|URL",
        "Where signed receipts go, which prove to the authority that a list is in force: a folder of this host, or an "
        "https URL; nothing keeps them here.",
        "",
    ),
    Question(
        "metrics.listen",
        "--metrics",
        "ADDR:PORT",
        "The address of /metrics, for Prometheus; keep it away from clients.",
        "127.0.0.1:9153",
    ),
    Question("listen.user", "--user", "NAME", "Without systemd: the account to run as.", "", asked=False),
    Question("list.source.ca", "--ca", "FILE", "The CA of an https or tls source.", "", asked=False),
    Question("list.source.certificate", "--certificate", "FILE", "Our certificate for it.", "", asked=False),
    Question("list.source.key", "--key", "FILE", "The key of that certificate.", "", asked=False),
    Question("fleet.publish", "--fleet-publish", "FOLDER", "Of a compile host: for its nodes.", "", asked=False),
    Question("fleet.receipts", "--fleet-receipts", "FOLDER", "Of a compile host: nodes' receipts.", "", asked=False),
    Question("fleet.nodes", "--fleet-nodes", "FOLDER", "Of a compile host: nodes' keys.", "", asked=False),
)

STAND_INS: Final[dict[str, Any]] = {
    "upstream.servers": ["192.0.2.254:53"],
    "list.id": "list-1",
    "list.purpose": "other",
    "list.expire": "keep",
    "list.source.kind": "tuf",
    "list.source.url": "https://authority.example/lists",
    "list.source.root": "/etc/blocklist-resolver/root.json",
    "page.addresses": ["192.0.2.1", "2001:db8::1"],
    "page.flow_records": "none",
    **{f"page.{key}": "-" for key in TEXTS},
}
"""Answers that pass every check, for what is not answered yet."""

_INDEX: Final = re.compile(r"\[(?:\d+|\.\.\.)\]")


class WrongAnswer(Exception):
    """What was typed is not accepted; the reason is that of the configuration's check."""


def default_of(question: Question, so_far: Answers) -> str | None:
    """Return what an empty answer stands for; None if there must be one."""
    return question.default(so_far) if callable(question.default) else question.default


def value_of(question: Question, typed: list[str]) -> Any:
    """Return the value for the configuration of what was typed or given by flags; WrongAnswer for another form."""
    words = [one.strip() for one in typed if one.strip()]
    if question.key == "list.demonstration":
        if words not in (["yes"], ["no"]):
            raise WrongAnswer("expected yes or no")
        return words == ["yes"]
    if question.key == "page.help":
        return [] if words in ([], [NONE]) else [_offer(one) for one in words]
    if not question.many:
        return " ".join(words)
    return [] if words == [NONE] else words


def _offer(text: str) -> dict[str, str]:
    kind, name, address = (*(word.strip() for word in text.split(";")), "", "")[:3]
    if not (name and address) or text.count(";") > 2:
        raise WrongAnswer("expected KIND;NAME;ADDRESS, such as young;Example Helpline;https://help.example")
    return {"kind": kind, "text": name, "url" if "://" in address else "phone": address}


def split(question: Question, line: str) -> list[str]:
    """Return the values in one line that was typed."""
    if question.key == "page.help":
        return [line] if line.strip() else []
    return re.split(r"[\s,]+", line.strip()) if question.many and line.strip() else [line] if line.strip() else []


def judge(question: Question, answers: Answers) -> None:
    """Check the answer to a question, in a whole file with the answers before it; WrongAnswer with the reason."""
    try:
        checked({**STAND_INS, **answers})
    except config.ConfigError as error:
        key = _INDEX.sub("", error.key)
        if key == question.key or key.startswith(f"{question.key}."):
            raise WrongAnswer(error.reason) from None


def checked(answers: Answers) -> config.Config:
    """Return the configuration of these answers, checked as by a start; ConfigError with the first fault."""
    from resolver.service import checks

    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(setup_file.text(answers))
        file.flush()
        path = Path(file.name)
        loaded = config.load(path)
        checks.check(path, loaded)
        checks.check_deadlines(path, loaded)
        checks.check_interfaces(path, loaded)
    return loaded


def left(answers: Answers) -> Iterator[Question]:
    """Yield each question that is still to be answered, by the answers that there are when it is its turn."""
    for question in QUESTIONS:
        if question.key not in answers and question.only(answers):
            yield question
