"""The verb `setup`: asks what a configuration must have, writes it and its folders, and looks at the result.

Rules:
- Each answer can be a flag. Without a terminal nothing is asked: a missing answer without a default is exit 2, and its
  flag is named.
- A wrong answer is refused at once, with the reason that the check of the configuration gives.
- The authority's key is pinned by its SHA-256, which a person got by another way and types; no flag leaves it out.
- Nothing is written over: a file that is there is exit 2, unless it is deploy/resolver.toml as installed.
- Exit 4: all is written, and something on this host is in the way of a start.
"""

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from resolver.cli import setup_file, setup_host, setup_questions
from resolver.cli.setup_questions import QUESTIONS, Question, WrongAnswer
from resolver.cli.terminal import DEFAULT_CONFIG, DONE, NOT_NOW, REFUSED, Refusal, UsageError, add_config, complain
from resolver.config import config as configuration

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
ROOT_KEY: Final = "list.source.root"
MOST_ROOT_BYTES: Final = 2**20


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    for one in QUESTIONS:
        action = "append" if one.many else "store"
        parser.add_argument(one.flag, dest=one.key, metavar=one.metavar, help=_help(one), action=action)
    parser.add_argument("--root-sha256", metavar="HEX", help="the SHA-256 of --root, as the authority said it")
    parser.add_argument("--credentials", action="store_true", help="make the keys in systemd's credential store")
    parser.add_argument("--defaults", action="store_true", help="ask only what has no default")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, and write nothing")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write below this folder, for a look; owners stay")
    add_config(parser)
    parser.set_defaults(verb=_setup)


def _help(one: Question) -> str:
    default = one.default if isinstance(one.default, str) and one.default else ""
    said = f"{one.says} Default: {default}" if default else one.says
    return f"{said}; repeatable".replace(".;", ";") if one.many else said


def _setup(arguments: argparse.Namespace) -> int:
    here = arguments.out is None and not arguments.dry_run
    if here and os.geteuid() != 0:
        raise UsageError("setup makes folders for another account: run it as root, or with --out FOLDER for a look")
    if not arguments.dry_run:
        _refuse_existing([setup_host.below(arguments.out, arguments.config)])
    answers, root = _answers(arguments)
    try:
        loaded = setup_questions.checked(answers)
    except configuration.ConfigError as error:
        raise UsageError(f"{error.key}: {error.reason}") from None
    text = setup_file.text(answers)
    place = Path(answers[ROOT_KEY])
    made = setup_host.plan(setup_host.Wanted(arguments.config, text, loaded, (place, root), arguments.credentials))
    _show(made, text, arguments.dry_run)
    if arguments.dry_run:
        return DONE
    _refuse_existing(setup_host.in_the_way(made, arguments.out))
    if here and (missing := setup_host.accounts_missing(made)):
        return complain(
            f"this host has no {', no '.join(missing)}: deploy/systemd/sysusers.conf names them, systemd-sysusers "
            "makes them; nothing was written",
            NOT_NOW,
        )
    if sys.stdin.isatty() and not _agreed():
        return complain("nothing was written", REFUSED)
    for path in setup_host.make(made, arguments.out):
        print(f"wrote {path}")
    if not here:
        print("This was for a look: no owner was set, and nothing was checked on this host.")
        return DONE
    return _after(arguments.config, loaded)


def _refuse_existing(paths: list[Path]) -> None:
    for path in paths:
        if os.path.lexists(path) and not setup_host.is_untouched(path):
            raise UsageError(f"{path} is there already, and setup writes nothing over; edit it, or move it away")


def _answers(arguments: argparse.Namespace) -> tuple[dict[str, Any], bytes]:
    """Return all answers, and the content of the pinned key; UsageError for a wrong flag or a missing answer."""
    answers: dict[str, Any] = {}
    root: bytes | None = None
    if sys.stdin.isatty():
        print("Enter takes the default in [ ]; Ctrl-C ends without writing anything.")
    while (one := next(setup_questions.left(answers), None)) is not None:
        given = getattr(arguments, one.key)
        default = setup_questions.default_of(one, answers)
        if given is not None:
            _take_flag(one, given if one.many else [given], answers)
        elif default is not None and (arguments.defaults or not one.asked or not sys.stdin.isatty()):
            _take_flag(one, setup_questions.split(one, default), answers)
        elif not sys.stdin.isatty():
            raise UsageError(f"{one.flag} is missing: {one.says} Without a terminal each answer is a flag")
        else:
            _take_typed(one, default, answers)
        if one.key == ROOT_KEY and root is None:
            root = _pinned(arguments, answers)
    return answers, root or b""


def _take_flag(one: Question, given: list[str], answers: dict[str, Any]) -> None:
    try:
        _take(one, given, answers)
    except WrongAnswer as error:
        raise UsageError(f"{one.flag}: {error}") from None


def _take_typed(one: Question, default: str | None, answers: dict[str, Any]) -> None:
    shown = f"[{default}] " if default else ""
    print(f"\n{one.says}")
    if one.key == "page.help":
        print("One a line; an empty line ends.")
    while True:
        typed = list(_lines(f"{one.flag.removeprefix('--')} {shown}> ", several=one.key == "page.help"))
        if not typed and default is None:
            print("  An answer is needed: there is no default that would be right for you.")
            continue
        try:
            lines = typed or [default or ""]
            _take(one, [word for line in lines for word in setup_questions.split(one, line)], answers)
        except WrongAnswer as error:
            print(f"  Not accepted: {error}")
        else:
            return


def _lines(prompt: str, *, several: bool) -> Iterator[str]:
    """Yield what is typed: one line, or several until an empty one. UsageError at the end of the input."""
    try:
        while line := input(prompt).strip():
            yield line
            if not several:
                return
    except EOFError:
        raise UsageError("the input ended before the last answer; nothing was written") from None


def _take(one: Question, given: list[str], answers: dict[str, Any]) -> None:
    value = setup_questions.value_of(one, given)
    if value == "" and setup_questions.default_of(one, answers) is None:
        raise WrongAnswer("an answer is needed")
    found = {**answers, one.key: value}
    setup_questions.judge(one, found)
    answers.update(found)


def _pinned(arguments: argparse.Namespace, answers: dict[str, Any]) -> bytes:
    """Read the file with the authority's key, have its hash confirmed, and answer with its place on this host."""
    file = Path(answers[ROOT_KEY])
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_ROOT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--root: cannot be read: {error.strerror}") from None
    if not content or len(content) > MOST_ROOT_BYTES:
        raise UsageError("--root: is empty, or larger than a key can be")
    found = hashlib.sha256(content).hexdigest()
    print(f"{file}: SHA-256 {found}")
    said = arguments.root_sha256
    if said is None and not sys.stdin.isatty():
        raise UsageError("--root-sha256 is missing: the hash that the authority gave you by another way than the file")
    if said is None:
        print("Ask the authority for this hash by another way than the file: by telephone, on paper.")
        said = next(_lines("the hash that they said > ", several=False), "")
    words = re.sub(r"[\s:]", "", said).lower()
    if not _HASH.match(words):
        raise UsageError("--root-sha256: expected all 64 hex digits")
    if words != found:
        raise Refusal(
            "--root-sha256: the file is not the one whose hash the authority gave you; nothing was written. Get both "
            "again, by separate ways", REFUSED,
        )
    name = "root.json" if answers["list.source.kind"] == "tuf" else file.name
    here = arguments.config.parent.absolute()
    answers[ROOT_KEY] = str(file.absolute() if file.absolute().parent == here else here / name)
    return content


def _show(made: list[setup_host.Made], text: str, dry_run: bool) -> None:
    print(f"\n{'Would make' if dry_run else 'To be made'}:")
    for one in made:
        print(f"  {one}")
    print("\nSet in the configuration; all other options stay at their defaults, with their explanations:")
    for line in setup_file.set_lines(text).splitlines():
        print(f"  {line}")
    for one in made:
        if one.data is not None and one.path.suffix == ".conf":
            print(f"\n{one.path}:")
            print("\n".join(f"  {line}" for line in one.data.decode().splitlines()))
    print()


def _agreed() -> bool:
    return next(_lines("Write this? yes or no [yes] > ", several=False), "yes").lower() in ("yes", "y")


def _after(file: Path, loaded: configuration.Config) -> int:
    """Check as the account, and print what the authority needs and what to do next; return the exit status."""
    account = loaded.listen.user or setup_host.ACCOUNT
    setup_host.reloaded()
    faults = [*setup_host.unreadable(loaded, account), *setup_host.busy(loaded)]
    status, said = setup_host.check_config(file, account)
    print(f"\nChecked as {account}:")
    print("\n".join(f"  {line}" for line in said.splitlines()))
    for line in faults:
        print(f"  NOT yet: {line}")
    if not faults and not status:
        print("  its files can be read, its ports can be bound")
    _for_the_authority(loaded, account)
    _next(file, loaded)
    return NOT_NOW if faults or status else DONE


def _for_the_authority(loaded: configuration.Config, account: str) -> None:
    from resolver.feed.seal import KeyUnusable

    (one,) = loaded.lists
    print("\nSend to the authority, and compare the hash by another way:")
    try:
        pem = setup_host.public_key(loaded, account)
    except (KeyUnusable, OSError) as error:
        print(f"  this host's key for receipts cannot be made: {error}")
    else:
        print("  this host's public key, which verifies its receipts (list receipt --key prints it again):")
        print("\n".join(f"    {line}" for line in pem.decode().splitlines()))
        print(f"    SHA-256 of these lines: {hashlib.sha256(pem).hexdigest()}")
    print(f"  where receipts arrive: {one.source.receipt or 'on this host only, until source.receipt says where'}")
    print("  the addresses from which this host fetches the list, if their server has a list of these")
    print("  who may approve here: names and SSH keys (ssh-keygen -t ed25519), as agreed for held lists")


def _next(file: Path, loaded: configuration.Config) -> None:
    print("\nNext:")
    if not Path(loaded.control.approvers).exists():
        print(f"  put the keys of those who may approve into {loaded.control.approvers} (OpenSSH's allowed_signers)")
    print(f"  usermod -aG {loaded.control.group} YOU   # each operator: status, reload, list fetch")
    # The unit reads the file at its usual place.
    if setup_host.SYSTEMD.is_dir() and file == DEFAULT_CONFIG:
        print("  systemctl enable --now blocklist-resolver")
    else:
        print(f"  blocklist-resolver run --config {file}")
    print("  blocklist-resolver status")
    name = loaded.rehearsal.name or ("blocked.test" if loaded.lists[0].demonstration else "")
    if name:
        print(f"  blocklist-resolver ask {name}   # blocked: the address of the page")
