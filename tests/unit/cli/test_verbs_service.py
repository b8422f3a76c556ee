"""The verbs that ask a server or the running service, as they are typed."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resolver.cli import terminal, verbs_service
from resolver.control import client, requests, status
from resolver.control.requests import Failed, FlushReply, HandOverReply, Refused, ReloadReply, StatusReply
from resolver.dns_client import client as dns_client
from resolver.dns_client.encrypted import Verified
from tests.unit.cli.running import Running, running
from tests.unit.cli.test_screen_service import GOOD
from tests.unit.cli.test_verbs_list import status_of

__all__ = ["running"]
CANARY = "canary-7f3a.example"
ANSWER = dns_client.Reply(
    octets=b"", rcode="NXDOMAIN", flags=("ra",), answers=(), authorities=(), additionals=(), errors=(), seconds=0.002
)


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stream = io.StringIO(text)
    monkeypatch.setattr(stream, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)


# A query to a server.


def asking(monkeypatch: pytest.MonkeyPatch, answer: dns_client.Reply | Exception = ANSWER) -> list[tuple[Any, ...]]:
    """Put a client in place that notes what it is asked, and gives `answer` or raises it."""
    asked: list[tuple[Any, ...]] = []

    def ask(*what: object) -> dns_client.Reply:
        asked.append(what)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(dns_client, "ask", ask)
    return asked


def test_ask_asks_once_and_shows_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asking(monkeypatch)
    assert status_of("ask", "a.test") == 0
    assert capsys.readouterr().out == "NXDOMAIN  flags ra  2.0 ms\n"
    assert status_of("ask", "a.test", "AAAA", "--server", "[::1]:53", "--over", "tcp", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rcode"] == "NXDOMAIN"
    assert asked == [
        ("a.test", "A", ("127.0.0.1", 5300), "udp", 5.0, None),
        ("a.test", "AAAA", ("::1", 53), "tcp", 5.0, None),
    ]


def test_ask_of_a_pasted_url_shows_what_it_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asking(monkeypatch)
    assert status_of("ask", "https://a.test/p") == 0
    assert capsys.readouterr().out.splitlines()[0] == "of the URL: a.test"
    assert asked[0][0] == "a.test"
    assert status_of("ask", "https://a.test/p", "--json") == 0
    said = capsys.readouterr()
    assert (json.loads(said.out)["rcode"], said.err) == ("NXDOMAIN", "of the URL: a.test\n")
    assert status_of("ask", "192.0.2.1") == 2
    assert "an address, not a name" in capsys.readouterr().err


def listening(tmp_path: Path, *addresses: str) -> Path:
    path = tmp_path / "resolver.toml"
    path.write_text(f"[listen]\ndns = {json.dumps(addresses)}\n[upstream]\nservers = this is broken\n")
    return path


def test_ask_follows_listen_dns_to_the_first_address_that_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def ask(name: str, kind: str, server: Any, over: str, timeout_s: float, how: object) -> dns_client.Reply:
        assert how is None
        asked.append(server)
        if len(asked) < 2:
            raise dns_client.AskError("refused")
        return ANSWER

    monkeypatch.setattr(dns_client, "ask", ask)
    # One that is not of this host is not asked: the query would leave it.
    path = listening(tmp_path, "192.0.2.53:53", "127.0.0.1:54", "0.0.0.0:55", "no address")
    assert status_of("ask", "a.test", "--config", str(path)) == 0
    assert asked == [("127.0.0.1", 54), ("127.0.0.1", 55)]


def test_ask_says_so_if_no_address_of_listen_dns_is_on_this_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listening(tmp_path, "192.0.2.53:53")
    assert status_of("ask", "a.test", "--config", str(path)) == 2
    assert "no address of listen.dns is on this host; --server" in capsys.readouterr().err
    assert status_of("ask", "a.test", "--config", str(tmp_path / "absent")) == 2
    assert "cannot be read" in capsys.readouterr().err


EDGE = """
[edge]
socket = "/run/edge"
name = "dns.isp.example"
tls = ["192.0.2.53:853", "0.0.0.0:8853"]
https = ["127.0.0.1:8443"]
path = "/q"
"""


def test_ask_over_tls_follows_the_table_of_the_edge_and_verifies_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked, path = asking(monkeypatch), tmp_path / "edge.toml"
    path.write_text(EDGE)
    assert status_of("ask", "a.test", "--over", "tls", "--config", str(path)) == 0
    assert asked[-1][2:] == (("127.0.0.1", 8853), "tls", 5.0, Verified(name="dns.isp.example", path="/q"))
    words = ("--over", "https", "--tls-name", "dns.example", "--ca", str(path), "--path", "/other")
    assert status_of("ask", "a.test", *words, "--config", str(path)) == 0
    assert asked[-1][2:] == (("127.0.0.1", 8443), "https", 5.0, Verified(name="dns.example", ca=path, path="/other"))
    assert status_of("ask", "a.test", "--over", "quic", "--server", "[::1]:853") == 0
    assert asked[-1][2:] == (("::1", 853), "quic", 5.0, Verified())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--over", "quic"), "no address of edge.quic is on this host"),
        (("--over", "tcp", "--tls-name", "dns.example"), "belong to --over tls, https or quic"),
        (("--ca", "/etc/hosts"), "belong to --over tls, https or quic"),
        (("--over", "tls", "--ca", "/no/such"), "--ca: no such file"),
        (("--as", "192.0.2.7", "--path", "/q"), "goes without --over and --server"),
    ],
)
def test_ask_over_tls_says_what_is_missing(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(EDGE)
    assert status_of("ask", "a.test", *words, "--config", str(path)) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rcode", "status"), [("NOERROR", 0), ("NXDOMAIN", 0), ("SERVFAIL", 1), ("REFUSED", 1), ("FORMERR", 1)]
)
def test_ask_exits_0_only_if_the_answer_answers(
    rcode: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asking(monkeypatch, replace(ANSWER, rcode=rcode))
    assert status_of("ask", "a.test") == status
    assert rcode in capsys.readouterr().out


def test_ask_without_an_answer_exits_1_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asking(monkeypatch, dns_client.AskError("no answer from 127.0.0.1:5300 within 5 s"))
    assert status_of("ask", "a.test") == 1
    assert capsys.readouterr().err == "blocklist-resolver: no answer from 127.0.0.1:5300 within 5 s\n"


@pytest.mark.parametrize("more", [(), ("--as", "192.0.2.7")])
@pytest.mark.parametrize("words", [(f"{CANARY}..", "A"), ("a.test", "NOSUCH")])
def test_what_cannot_be_asked_for_is_a_fault_of_the_command_line(
    words: tuple[str, str], more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("ask", *words, *more) == 2
    said = capsys.readouterr().err
    assert said.startswith("blocklist-resolver: not a ")
    assert CANARY not in said


def test_ask_reads_a_name_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asking(monkeypatch)
    stdin(monkeypatch, "\n  b.test  \nc.test\n")
    assert status_of("ask", "-") == 0
    assert [what[0] for what in asked] == ["b.test"]
    stdin(monkeypatch, "")
    assert status_of("ask", "-") == 2


# Requests to the running service.


def test_status_is_one_screen_or_json(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.replies = [StatusReply(health=status.to_json(GOOD))]
    assert status_of("status", "--config", "x.toml") == 0
    assert capsys.readouterr().out.startswith("service    ready, enforcing; ")
    assert status_of("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["version"] == GOOD.version
    assert running.files == [Path("x.toml"), terminal.DEFAULT_CONFIG]
    assert running.asked == [requests.Status()] * 2
    assert running.timeouts == [10.0] * 2, "a service that hangs is told soon"


def test_a_status_of_another_version_is_told(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.replies = [StatusReply(health={"version": 1})]
    assert status_of("status") == 1
    assert "is of another version" in capsys.readouterr().err


def test_a_reload_says_what_changed(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    running.replies = [ReloadReply(file="/r.toml", changed=("a.b", "c.d"), warnings=("hm",))]
    assert status_of("reload") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "/r.toml: taken; changed: a.b, c.d"
    assert said.err == "warning: hm\n"
    running.replies = [ReloadReply(file="/r.toml", changed=(), warnings=())]
    assert status_of("reload") == 0
    assert capsys.readouterr().out.splitlines()[0] == "/r.toml: taken; changed: nothing"


def test_a_reload_that_is_refused_exits_2_with_the_reason(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [Refused(said="/r.toml: a.b: no such thing")]
    assert status_of("reload") == 2
    said = capsys.readouterr()
    assert said.err == "blocklist-resolver: /r.toml: a.b: no such thing; the old configuration stays\n"
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "name", "subtree"),
    [
        (("a.test",), "016104746573740" "0", False),
        (("A.test.", "--subtree"), "0141047465737400", True),
        (("b\u00fccher.test",), "0d786e2d2d62636865722d6b76610474657374" "00", False),
        ((".", "--subtree"), "00", True),
    ],
)
def test_flush_asks_for_the_name_in_wire_format(
    words: tuple[str, ...], name: str, subtree: bool, running: Running
) -> None:
    running.replies = [FlushReply(forgotten=1)]
    assert status_of("cache", "flush", *words) == 0
    assert running.asked == [requests.Flush(name=name, subtree=subtree)]


@pytest.mark.parametrize(
    ("forgotten", "said"),
    [
        (None, "removed: all cached answers below it\n"),
        (0, "nothing was cached for it\n"),
        (1, "removed: 1 cached answer\n"),
        (2, "removed: 2 cached answers\n"),
    ],
)
def test_flush_says_how_much_was_removed_and_not_what(
    forgotten: int | None,
    said: str,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    running.replies = [FlushReply(forgotten=forgotten)]
    stdin(monkeypatch, f"{CANARY}\n")
    assert status_of("cache", "flush", "-") == 0
    assert capsys.readouterr().out == said


def test_ask_as_a_client_walks_inside_the_service(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = (("client", "is one of listen.allow", 0.00002),)
    running.replies = [requests.AskReply(steps=steps, reply=None, seconds=0.1)]
    assert status_of("ask", "a.test", "AAAA", "--as", "192.0.2.7") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["client", "is", "one", "of", "listen.allow", "0.02", "ms"]
    assert said[-1] == "no answer is sent"
    (request,) = running.asked
    assert isinstance(request, requests.Ask)
    packet = bytes.fromhex(request.packet)
    assert (request.client, packet[12:24]) == ("192.0.2.7", b"\x01a\x04test\0\0\x1c\0\x01")
    octets = packet[:2] + b"\x81\x83" + packet[4:6] + bytes(6) + packet[12:24]
    running.replies = [requests.AskReply(steps=steps, reply=octets.hex(), seconds=0.1)]
    assert status_of("ask", "a.test", "AAAA", "--as", "192.0.2.7", "--json") == 1, "an answer to another query"
    monkeypatch.setattr(dns_client, "build_query", lambda *_: packet)
    assert status_of("ask", "a.test", "AAAA", "--as", "192.0.2.7", "--json") == 0
    assert json.loads(capsys.readouterr().out)["reply"]["rcode"] == "NXDOMAIN"


@pytest.mark.parametrize(
    "words", [("status",), ("reload",), ("cache", "flush", "a.test"), ("ask", "a.test", "--as", "::1")]
)
def test_without_a_service_a_verb_exits_1_in_one_line(
    words: tuple[str, ...], running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.replies = [client.Unreachable("/run/x: no service listens there: look")]
    assert status_of(*words) == 1
    assert capsys.readouterr() == ("", "blocklist-resolver: /run/x: no service listens there: look\n")
    running.replies = [Failed(said="failed inside; please report it")]
    assert status_of(*words) == 1
    assert capsys.readouterr() == ("", "blocklist-resolver: failed inside; please report it\n")


def test_a_hand_over_ends_when_the_new_process_has_the_socket(
    running: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs_service, "LOOK_S", 0.0)
    gone = client.Unreachable("/run/x: no service listens there: look")
    running.replies = [HandOverReply(process=42), gone, gone, StatusReply(health={})]
    assert status_of("hand-over") == 0
    assert capsys.readouterr().out.splitlines() == [
        "process 42 answers now",
        "the old process has ended; see: blocklist-resolver status",
    ]
    assert len(running.asked) == 4
    monkeypatch.setattr(verbs_service, "ENDS_S", -1.0)
    running.replies = [HandOverReply(process=42), gone]
    assert status_of("hand-over") == 1
    assert "process 42 has not taken the control socket yet" in capsys.readouterr().err
