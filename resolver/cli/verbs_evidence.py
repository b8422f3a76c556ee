"""The verb `evidence`: makes a month's signed bundle for an auditor, or verifies one.

Rules:
- A month that is not over is refused; --so-far makes a marked bundle outside the chain.
- A month before the host's records begin is refused: a signed statement about it could never be taken back.
- A month that was issued is written again octet for octet; only --correct makes a new bundle, which says why.
- A bundle is verified before it is recorded as issued.
- Verifying needs the files alone: no configuration, no state, no service.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resolver.cli.acting import owner_of
from resolver.cli.terminal import DONE, FAILED, REFUSED, UsageError, add_config, complain

if TYPE_CHECKING:
    from resolver.config.config import Config
    from resolver.evidence.check import Opened

MOST_WHY: Final = 200


def add_verbs(verbs: "argparse._SubParsersAction[Any]") -> None:
    """Add `evidence`."""
    evidence = verbs.add_parser("evidence", help="make a month's signed evidence for an auditor, or verify it")
    what = evidence.add_mutually_exclusive_group(required=True)
    what.add_argument("--month", metavar="YYYY-MM", help="make the bundle of a month that is over (UTC)")
    what.add_argument("--verify", type=Path, metavar="FILE", help="verify a bundle; exit 3: it does not verify")
    evidence.add_argument("--out", type=Path, metavar="FILE", help="the file to write the bundle to; -: stdout")
    evidence.add_argument("--so-far", action="store_true", help="of a month that is not over: marked, not chained")
    evidence.add_argument("--correct", metavar="TEXT", help="replace the month's bundle; TEXT is the reason")
    evidence.add_argument("--summary", type=Path, metavar="FILE", help="two printable pages; default: --out with .html")
    evidence.add_argument("--host-key", type=Path, metavar="FILE", help="the host's public key (PEM), to verify with")
    evidence.add_argument("--previous", type=Path, metavar="FILE", help="the bundle before, to verify with")
    add_config(evidence)
    evidence.set_defaults(verb=_evidence)


def _evidence(arguments: argparse.Namespace) -> int:
    if arguments.verify is not None:
        if arguments.out or arguments.so_far or arguments.correct is not None:
            raise UsageError("--verify goes without --out, --so-far and --correct")
        return _verify(arguments)
    if arguments.out is None:
        raise UsageError("--month needs --out FILE")
    if arguments.host_key or arguments.previous:
        raise UsageError("--host-key and --previous go with --verify")
    if arguments.out.suffix == ".html":
        raise UsageError("--out is the bundle, JSON; --summary is the page")
    why = arguments.correct
    if why is not None and not (why.strip() and why.isprintable() and len(why) <= MOST_WHY):
        raise UsageError(f"--correct: expected one printable line of 1 to {MOST_WHY} characters")
    if why is not None and arguments.so_far:
        raise UsageError("--so-far is not in the chain: there is nothing to correct")
    return _make(arguments)


def _make(arguments: argparse.Namespace) -> int:
    from resolver.cli import by_service
    from resolver.cli.progress import working
    from resolver.config import config
    from resolver.count.ledger import LedgerUnusable
    from resolver.evidence.chain import NotIssued
    from resolver.evidence.check import Refused
    from resolver.evidence.collect import LogDiffers, NotHere
    from resolver.evidence.commitments import RecordsUnusable
    from resolver.evidence.month import NotAMonth
    from resolver.feed.seal import KeyUnusable

    loaded = config.load(arguments.config)
    try:
        if arguments.so_far and not by_service.reads_here(loaded):
            reply = by_service.read(arguments)
            if reply.status:
                sys.stderr.write(reply.err)
                return reply.status
            data, said = reply.out.encode(), f"{arguments.month} so far, not in the chain"
        else:
            doing = working("reading ledger, audit log and receipts, and verifying the bundle")
            with doing, owner_of(Path(loaded.state.directory)):
                data, said = _bundle(loaded, arguments, time.time())
    except NotAMonth as error:
        raise UsageError(str(error)) from None
    except (NotIssued, NotHere, LogDiffers, Refused) as error:
        return complain(str(error), REFUSED)
    except (LedgerUnusable, KeyUnusable, RecordsUnusable) as error:
        return complain(str(error), FAILED)
    except PermissionError:
        place = loaded.state.directory
        return complain(f"permission denied below {place}: run this as the service's account", FAILED)
    from resolver.evidence import check

    if str(arguments.out) == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return DONE
    summary = arguments.summary or arguments.out.with_name(f"{arguments.out.name}.html")
    made = check.opened(data)
    for path, octets in ((arguments.out, data), (summary, _page(made))):
        try:
            path.write_bytes(octets)
        except OSError as error:
            return complain(f"{path}: {error.strerror}", FAILED)
    print(f"{arguments.out}: {said}, SHA-256 {made.sha256}")
    print(f"{summary}: the same in two pages, for printing")
    if made.bundle.audit.broken:
        return complain(f"it says that the audit log does not verify: {made.bundle.audit.broken}", REFUSED)
    return DONE


def _bundle(loaded: "Config", arguments: argparse.Namespace, now: float) -> tuple[bytes, str]:
    """Return the bundle of the month, and words that say what it is."""
    from resolver.evidence import month
    from resolver.evidence.chain import NotIssued, alone
    from resolver.feed.places import Places

    name = arguments.month
    if arguments.so_far:
        return _signed(loaded, month.so_far(name, now), None, None, now), f"{name} so far, not in the chain"
    whole = month.whole(name)
    if not month.is_over(whole, now):
        raise NotIssued(f"{name} is not over (months are UTC): wait, or take --so-far, which is no evidence of it")
    with alone(Places(loaded.state.directory).evidence) as bundles:
        issued = bundles.of(name)
        if issued is not None and arguments.correct is None:
            return bundles.data_of(issued), f"{name}, issued before as number {issued.number}, octet for octet"
        place = bundles.next(name, arguments.correct or "")
        since = _log_end(bundles.data_of(place.previous_month)) if place.previous_month else None
        data = _signed(loaded, whole, place, since, now)
        bundles.keep(place, name, data)
    replaced = f", replaces number {place.replaces.number}" if place.replaces else ""
    return data, f"{name}, number {place.number} of this host{replaced}"


def _signed(loaded: "Config", which: Any, place: Any, since: Any, now: float) -> bytes:
    """Return the bundle, signed and verified."""
    from resolver import __version__
    from resolver.evidence import bundle, check, collect
    from resolver.feed import poll
    from resolver.signed import statement

    key = poll.host_key_of(loaded, make=False)
    made = collect.collect(loaded, which, place, since, version=__version__, now=now)
    data = statement.sign(bundle.statement_of(made), key)
    opened = check.opened(data, statement.public_of(key))
    if not made.audit.broken:
        check.verified(opened, pinned=True)
    return data


def _log_end(data: bytes) -> Any:
    from resolver.evidence import check

    return check.opened(data).bundle.audit.end


def _verify(arguments: argparse.Namespace) -> int:
    from resolver.evidence import check
    from resolver.signed import statement

    try:
        pinned = statement.pinned_of(_read(arguments.host_key)) if arguments.host_key else None
    except statement.StatementBroken as error:
        raise UsageError(f"--host-key: {arguments.host_key}: {error}") from None
    at = arguments.verify
    try:
        made = check.opened(_read(arguments.verify), pinned)
        previous = None
        if arguments.previous:
            at = arguments.previous
            previous = check.opened(_read(arguments.previous), pinned)
            check.verified(previous, pinned=pinned is not None)
            at = arguments.verify
        proved, not_proved = check.verified(made, pinned=pinned is not None, previous=previous)
    except check.Refused as error:
        return complain(f"{at}: refused: {error}", REFUSED)
    print(f"{arguments.verify}: holds")
    print("\n".join(f"Proved: {one}" for one in proved))
    print("\n".join(f"Not proved: {one}." for one in not_proved))
    if arguments.summary:
        arguments.summary.write_bytes(_page(made))
    return DONE


def _page(made: "Opened") -> bytes:
    from resolver.evidence import check, summary

    return summary.as_html(made.bundle, made.sha256, check.fingerprint(made.key)).encode()


def _read(path: Path) -> bytes:
    from resolver.evidence.bundle import MAX_BUNDLE_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
