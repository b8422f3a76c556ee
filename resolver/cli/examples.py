"""Says in each verb's --help what it does and how it is typed: a description and examples.

Rules:
- Each verb and step has both; the examples are command lines that parse (a test reads them).
- Each option has a help; what many verbs have in common stands here, once.
- Names in examples are reserved ones; a name that may be listed is never typed: `-` reads it from the terminal.
"""

import argparse
from collections.abc import Mapping
from typing import Final, NamedTuple

from resolver.doctor import command as doctor


class Said(NamedTuple):
    """What the help of a verb says: what it does, and command lines without the program's name."""

    description: str
    examples: tuple[str, ...]


_DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""A roster's digest."""

SAID: Final[Mapping[str, Said]] = {
    "run": Said(
        "Serve DNS until SIGTERM (pending answers are still given) or SIGINT. SIGHUP reads lists and "
        "configuration again.",
        ("run", "run --config ./resolver.toml"),
    ),
    "compile": Said(
        "On a fleet's compile host without DNS: fetch, test and publish each list once, for a timer. Exit 3: a list is "
        "held or refused; 1: an error on this host.",
        ("compile",),
    ),
    "receive": Said(
        "Take receipts that other hosts send by HTTP: on a fleet's compile host those of its nodes, on an authority's "
        "machine those of operators. It listens on a Unix socket behind a web server that does TLS, and writes what a "
        "known key has signed. SIGTERM ends it. Exit 4: a folder or the socket cannot be used now.",
        (
            "receive --folder /srv/blocklist-receipts --keys /etc/blocklist-resolver/nodes --keep 20",
            "receive --folder /srv/receipts --keys /srv/receipt-keys --socket /run/receipts/socket",
        ),
    ),
    "discovery": Said(
        "Print how clients find the encrypted transports of [edge]: what this service answers for _dns.resolver.arpa, "
        "the records for the public zone, and the octets that DHCP servers and routers send, as Kea, dnsmasq and BIRD "
        "take them. Exit 1: the certificate has a fault that every client would see.",
        ("discovery", "discovery --config ./resolver.toml"),
    ),
    "export": Said(
        "Hold the names of lists in plaintext, and give them to secondaries as [export] says: response policy zones by "
        "AXFR and IXFR with TSIG, and files for dnsdist. For blocklist-export.service, under an account of its own. It "
        "reads the configuration at its start. Exit 2: not configured, a key or folder of it is unusable, or its "
        "account can read the service's state; 4: an address or the socket cannot be used now.",
        ("export", "export --config ./resolver.toml"),
    ),
    "edge": Said(
        "Receive queries over TLS, HTTPS and QUIC as [edge] says, and hand them to the service. For "
        "blocklist-edge@1.service, under an account of its own; several share the addresses, each on its own core. "
        "It reads the configuration at its start, and certificate and key again by SIGHUP or when they change. Exit 2: "
        "not configured, certificate or key is unusable, or its account can read the service's state; 4: an address "
        "cannot be used now. With --keep it stays, and starts edges again, as systemd does elsewhere.",
        ("edge", "edge --config ./resolver.toml --number 2", "edge --keep 4"),
    ),
    "page": Said(
        "Show the page until SIGTERM or SIGINT, and do nothing else: for hosts of its own, where the resolvers' "
        "page.listen is empty. The configuration is that of the page: the same [page] and [[list]] tables. No list is "
        "read, and no view is counted.",
        ("page", "page --config ./page.toml"),
    ),
    "check-config": Said(
        "Read the configuration as a start would, and look at its addresses and files. Exit 2 names file, "
        "key and reason. With --schema: print the JSON Schema of the configuration, for editors, and check nothing.",
        ("check-config", "check-config ./resolver.toml", "check-config --schema"),
    ),
    "setup": Said(
        "Ask what a configuration must have, write it with its folders and systemd's drop-in, check it as the "
        "service's account, and print what the authority needs. Every answer can be a flag; without a terminal a "
        "missing one is exit 2. Nothing is ever written over. Exit 3: the authority's key has another hash; 4: "
        "written, but something on this host is in the way of a start.",
        (
            "setup",
            "setup --dry-run --defaults",
            "setup --list-id court --source https://authority.example/lists --root ./root.json --root-sha256 "
            f"{_DIGEST} --purpose court-order --flow-records none --expire keep --page-address 192.0.2.1 --operator "
            "'Example Net' --contact help@isp.example --authority 'Example Court' --law 'Example Act 1' --protected "
            "isp.example --allow 192.0.2.0/24 --listen 192.0.2.53:53",
        ),
    ),
    "ask": Said(
        "Send one query to the first address of listen.dns that answers, or to --server, and show the "
        "answer. With --over tls, https or quic the certificate is verified, and shown with its end. With --as: "
        "walk the running service's own path as that client would, and show each step. A pasted URL is read "
        "as its host. "
        "Exit 1: no answer, SERVFAIL, REFUSED and the like.",
        (
            "ask www.example.com",
            "ask www.example.com AAAA --server 192.0.2.53:53",
            "ask www.example.com --over tls --server 192.0.2.53:853 --tls-name dns.isp.example",
            "ask - --as 192.0.2.7",
        ),
    ),
    "status": Said(
        "One screen of the running service: lists, upstreams, answers, and what to do next. For root and the "
        "members of "
        "the control socket's group.",
        ("status", "status --json"),
    ),
    "reload": Said(
        "Poll every list and read the configuration again. If it is refused, the reason is printed, the exit "
        "status is 2, "
        "and the old configuration stays.",
        ("reload",),
    ),
    "hand-over": Said(
        "Replace the running process by a new one: of the release that is installed now, with the configuration as it "
        "stands in the file, on the same sockets; no query is lost. If the new process cannot take over, the old one "
        "goes on, exit 1.",
        ("hand-over",),
    ),
    "cache flush": Said(
        "Remove the cached answers for a name, so that the next query goes upstream.",
        ("cache flush www.example.com", "cache flush example.com --subtree", "cache flush -"),
    ),
    "list status": Said(
        "Each list: serial, dates, entries, what waits for persons, and what to do next; without a running "
        "service too.",
        ("list status", "list status --json"),
    ),
    "list check": Said(
        "Say of each name whether a list holds it, which, and whether it is blocked now. Names come from the terminal "
        "without echo, or from stdin. A pasted URL, mail address or x[.]example is read as its host, and the "
        "reading is "
        "shown; what is no name is refused with the reason, exit 2.",
        ("list check -",),
    ),
    "list fetch": Said("Poll one list now, and show the result.", ("list fetch court",)),
    "list held": Said(
        "Show why a list is held or lines are set aside, in counts and line numbers, and what to type next. With "
        "--statement: print the bytes that a person signs.",
        ("list held court", "list held court --statement approve"),
    ),
    "list approve": Said(
        "Hand over signatures that put the held list in force, or let the lines set aside block: two "
        "persons, in one call "
        "or in two. `list held ID` says what to sign.",
        (
            "list approve court 412 --signature court-approve-412.sig",
            "list approve court 412 --set-aside --signature anna.sig --signature ben.sig",
        ),
    ),
    "list resume": Said(
        "Kept for those who type it: no entries are suspended any more.", ("list resume court 412 --signature a.sig",)
    ),
    "list rollback": Said(
        "Return to the list before, for good; SERIAL is the one that comes back. One signature carries it out, another "
        "person's confirms it within 24 hours.",
        ("list rollback court 411 --signature court-rollback-411.sig",),
    ),
    "list revoke": Said(
        "Take a standing approval back: one signature, at once. `list held ID` shows its number.",
        ("list revoke court 1 --signature court-revoke-1.sig",),
    ),
    "list standing": Said(
        "Approve beforehand what later serials of a list are held for, within limits and until a moment: two persons.",
        (
            "list standing court --growth-to 5000 --until 2026-11-30T00:00:00Z --statement",
            "list standing court --growth-to 5000 --until 2026-11-30T00:00:00Z --signature court-standing-1.sig",
        ),
    ),
    "list try": Said(
        "Fetch, compile, test and guard a list as this host would, without its counting; nothing of it "
        "stays. Exit 3: it "
        "would be refused.",
        ("list try court", "list try ./new-list.toml"),
    ),
    "list audit": Said(
        "Verify the chain of the audit log and show it. Exit 3: it does not verify, or has no entry of the "
        "expected hash.",
        ("list audit", "list audit --head", f"list audit --expect {'0' * 64}"),
    ),
    "list release": Said(
        "Unblock a name on this host at once, for a time: it is typed unseen, and the authority reads the "
        "reason, which "
        "must not hold it. Another person confirms the release within 24 hours, or ends it.",
        (
            "list release - --reason 'wrongly listed, a school' --for 7d",
            "list release 3 --statement",
            "list release 3 --signature release-3.sig",
            "list release 3 --end",
        ),
    ),
    "list releases": Said("Show each release: number, list, serial, line, and when it ends.", ("list releases",)),
    "list receipt": Said(
        "Print the public key of this host, with which the authority verifies its receipts and an auditor "
        "its evidence.",
        ("list receipt --key",),
    ),
    "report": Said(
        "What was blocked, by month, with ratios, peaks and what they mean: from this host's ledger, or from "
        "a Prometheus "
        "for a fleet, which needs no configuration file. Days are UTC and over, but for --so-far.",
        (
            "report",
            "report --so-far",
            "report --from 2026-01-01 --to 2026-03-31 --format html --out report.html",
            "report --prometheus https://prometheus.example --by region --format csv",
        ),
    ),
    "evidence": Said(
        "Make a month's signed bundle for an auditor, or verify one with its files alone. A month that is not over, or "
        "that is before this host's records, is refused; --so-far is marked, and no evidence of the month.",
        (
            "evidence --month 2026-10 --out october.json",
            "evidence --month 2026-11 --so-far --out november.json",
            "evidence --verify october.json --host-key host.pem --previous september.json",
        ),
    ),
    "doctor": Said(doctor.DESCRIPTION, doctor.EXAMPLES),
    "national join": Said(
        "Write this operator's signed request to be in the rosters of the national figure: its contact name, the "
        "public key of its evidence, and an X25519 key that is made at the first call. Hand the file to the authority.",
        (
            "national join --name 'Example Net' --out example-net.join.json",
            "national join --name 'Example Net' --renew --out example-net.join.json",
        ),
    ),
    "national roster": Said(
        "The authority's side: sign the roster of a month before the month begins, of the joins of at least five "
        "operators; or, with --corrects, the second round of a month whose first one was not complete.",
        (
            "national roster --key authority.pem --name 'Example Police' --month 2027-01 --list court --out "
            "roster.json joins/",
            "national roster --key authority.pem --corrects roster.json --out roster-2.json joins/",
        ),
    ),
    "national show": Said(
        "Show a roster that its authority signed: month, lists, noise, digest, and each operator's key and name. "
        "Compare the digest with other operators by another way, before the month begins.",
        (
            "national show --roster roster.json --authority authority.pub",
            "national show --roster roster.json --authority authority.pub --outside",
        ),
    ),
    "national submit": Said(
        "Write this operator's one submission to a roster whose month is over: each list's attempts, with noise, "
        "hidden by masks that cancel only in the sum of all operators. The same roster again gives the same file, "
        "octet for octet; another roster of the same month is refused (exit 3). --digest is the one that you have "
        "compared with the other operators: of two rosters of a month the authority would learn the sum of each part.",
        (
            f"national submit --roster roster.json --authority authority.pub --digest {_DIGEST} --out example-net.json",
            f"national submit --roster roster.json --authority authority.pub --digest {_DIGEST} --prometheus "
            "https://prometheus.example --out example-net.json",
            "national submit --roster roster-2.json --corrects roster.json --authority authority.pub --digest "
            f"{_DIGEST} --out second.json",
        ),
    ),
    "national sum": Said(
        "Add the submissions of all operators of a roster: files, or folders of .json files. If one is missing there "
        "is no sum, and its operator is named (exit 3).",
        (
            "national sum --roster roster.json --authority authority.pub submissions/",
            "national sum --roster roster.json --authority authority.pub --out sum.json --metrics "
            "/var/lib/node_exporter/national.prom submissions/",
        ),
    ),
    "national open": Said(
        "Open the commitment to one figure, for an auditor who may read it: the file holds figure, noise and salt in "
        "clear, signed by this host. Never hand it to the authority.",
        ("national open --month 2027-01 --list court --out opening.json",),
    ),
    "national verify": Said(
        "The auditor's side: is the opened figure the one that the operator committed to in its signed evidence, "
        "and can its noise be that of the roster?",
        (
            "national verify opening.json --roster roster.json --authority authority.pub --evidence february.json "
            "--host-key host.pem",
        ),
    ),
    "authority init": Said(
        "Make a repository of signed lists, and the keys of its roles.",
        ("authority init /srv/authority", "authority init /srv/authority --threshold 2"),
    ),
    "authority publish": Said(
        "Sign a list and publish it. It is refused if it is not what was expected: entries, refused lines, exceptions.",
        ("authority publish /srv/authority --id court --list court.txt --serial 412",),
    ),
    "authority refresh": Said(
        "Sign again that the newest lists are the newest; a timer does this, or every resolver is stale in 48 hours.",
        ("authority refresh /srv/authority",),
    ),
    "authority withdraw": Said(
        "End a list with a signed statement; an empty file never does.",
        ("authority withdraw /srv/authority --id court --serial 413",),
    ),
    "authority rotate": Said("Replace the key of a role.", ("authority rotate /srv/authority --role timestamp",)),
    "authority sign": Said(
        "Add one person's signature to what waits for it.", ("authority sign /srv/authority --key anna.pem",)
    ),
    "authority verify": Said(
        "Verify a resolver's receipt of a list.",
        ("authority verify /srv/authority --list court.txt --receipt receipt.json --host-key host.pem",),
    ),
    "authority check": Said(
        "Read a list as a resolver does, before it is signed: counts, reasons and line numbers. Exit 3: "
        "nothing is usable.",
        ("authority check court.txt", "authority check court.csv --format csv"),
    ),
    "authority convert": Said(
        "Make a plain list of a file in another format, never wider than its source; what was dropped is counted.",
        ("authority convert hosts.txt --from hosts --out list.txt",),
    ),
}


OPTIONS: Final[Mapping[str, str]] = {
    "--json": "print JSON",
    "--signature": "a signature of one person (ssh-keygen -Y sign); may be given again for another's",
    "--roster": "the roster, as its authority signed it",
    "--month": "as in 2027-01",
    "--id": "the list's id",
    "--serial": "the list's new serial, greater than the last one",
    "--role": "the role whose key is replaced",
    "list": "the list's id",
    "serial": "the serial of the list that is meant",
    "dir": "the folder of the repository",
    "file": "the list's file",
    "files": "submissions, or folders of .json files",
    "opening": "what `national open` wrote",
}
"""The help of an option, or of a positional argument, whose verb says nothing else of it."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add to each verb below `parser` what is said of it here; a verb that is not in SAID stays as it is."""
    for path, verb in verbs(parser):
        for action in shown(verb):
            if action.help is None:
                action.help = OPTIONS.get(action.option_strings[0] if action.option_strings else action.dest)
        said = SAID.get(path)
        if said is None:
            continue
        typed = "\n".join(f"  {parser.prog} {one}" for one in said.examples)
        verb.description = said.description
        verb.epilog = f"examples:\n{typed}"
        verb.formatter_class = _Examples


def shown(verb: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options and arguments that the help of a verb shows, but for --help itself."""
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    return [one for one in verb._actions if one.help != argparse.SUPPRESS and not isinstance(one, hidden)]


class _Examples(argparse.HelpFormatter):
    """Fills the description, and leaves the lines of the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:\n") else super()._fill_text(text, width, indent)


def verbs(parser: argparse.ArgumentParser, path: str = "") -> "list[tuple[str, argparse.ArgumentParser]]":
    """Return each verb that can be typed, with its words."""
    steps = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not steps:
        return [(path, parser)]
    every = ((f"{path} {name}".strip(), one) for step in steps for name, one in step.choices.items())
    return [found for words, one in every for found in verbs(one, words)]
