"""The requests of the control socket and their replies: one struct a verb, used by both ends.

On the wire each is one line of JSON: {"verb": "flush", ...} and {"outcome": "done", ...}, where "refused" and "failed"
come with "said".

Rules:
- Keys are added, never renamed or removed: command and service may be of different releases. An end ignores keys that
  it does not know.
- Shapes and bounds are checked here, meaning by the verb in the service. Nothing of a request is ever repeated in a
  message: it may hold a name.
- A verb that only reads the state folder goes as its words (Read): the service's account carries it out in a process
  of its own, and any member of the socket's group may have the result. Options are a closed set; none names a file.
- `help` is what the command line shows of a verb. A verb that `changes_something` is logged.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar, cast, get_args

import msgspec
from msgspec import Meta, Struct

from resolver.feed.actions import MAX_SIGNATURE_BYTES, Action

MAX_REQUEST_OCTETS: Final = 8192
MAX_REPLY_OCTETS: Final = 2**24
"""A status names every node of a fleet that is missing, for each list: at each change all of them, say 10,000."""
REQUEST_S: Final = 5.0
"""Timeout for a request to arrive, in seconds."""
REPLY_S: Final = 45.0
"""Timeout for a verb, in seconds: a walk to the upstreams takes their timeouts."""

_Hex = Annotated[str, Meta(pattern=r"^(?:[0-9a-fA-F]{2})*\Z")]
_HexName = Annotated[_Hex, Meta(max_length=2 * 255)]
_HexPacket = Annotated[_Hex, Meta(max_length=2 * 4096)]
_Count = Annotated[int, Meta(ge=0, le=2**40)]
_Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9@._:+-]{1,128}\Z")]
_Signature = Annotated[str, Meta(max_length=MAX_SIGNATURE_BYTES)]


class Malformed(Exception):
    """A line that is no request; the text says so in our own words."""


class NoReply(Exception):
    """A line that is no reply to the request."""


# Replies.


class Reply(Struct, frozen=True, kw_only=True, tag_field="outcome"):
    """A reply to any request."""

    @property
    def outcome(self) -> str:
        """`done`, `refused` or `failed`."""
        return str(self.__struct_config__.tag)


class Done(Reply, frozen=True, tag="done"):
    """The verb was carried out."""


class Refused(Reply, frozen=True, tag="refused"):
    """The verb was refused; `said` says why, for the operator."""

    said: str


class Failed(Reply, frozen=True, tag="failed"):
    """The verb could not be carried out; `said` says why, for the operator."""

    said: str


class StatusReply(Done, frozen=True):
    """The status of the service, as `control.status` shapes it."""

    health: dict[str, Any]


class ReloadReply(Done, frozen=True):
    """The configuration file, the keys that changed, and warnings about values that are allowed but unusual."""

    file: str
    changed: tuple[str, ...]
    warnings: tuple[str, ...]


class HandOverReply(Done, frozen=True):
    """The number of the new process, which answers now."""

    process: int


class FlushReply(Done, frozen=True):
    """How many answers were removed; None if that may not be known."""

    forgotten: int | None


class AskReply(Done, frozen=True):
    """The steps of a query's way (step, what was found there, seconds), the answer in hexadecimal or None, and the
    seconds that it took."""

    steps: tuple[tuple[str, str, float], ...]
    reply: str | None
    seconds: float


class FetchReply(Done, frozen=True):
    """The result of a poll. serial: of the list held, else of the list in force. reasons: why it is held. taken_out:
    the serial that a person has taken out, if the source has no other list; 0 if not. passed_over: how many other files
    of a drop folder do not count, in words. again_at: when a list that is dated a little ahead is tried again; 0 if
    there is none."""

    found: Literal["held", "in_force", "nothing"]
    serial: int
    reasons: tuple[str, ...]
    taken_out: int = 0
    passed_over: str = ""
    again_at: int = 0


class ExplainReply(Done, frozen=True):
    """The steps of a poll, each with the seconds that it took, and its result: `fetched`, or why it was refused and
    what to do."""

    steps: tuple[tuple[str, float], ...]
    fetched: FetchReply | None = None
    refused: str = ""
    do: str = ""


class DecideReply(Done, frozen=True):
    """Whose signature was counted, and how many are missing. carried_out, confirmed (a rollback): by this signature.
    in_force: the serial in force now. number: of a standing approval."""

    principal: str
    key: str
    missing: int
    carried_out: bool
    confirmed: bool
    in_force: int | None
    number: int = 0


class ReadReply(Done, frozen=True):
    """The result of a verb that reads: its exit status, what it printed, and on stderr.

    token, next: if there is more, what asks for it (ReadMore), and from where; else "" and 0.
    """

    status: int
    out: str
    err: str = ""
    token: str = ""
    next: int = 0


class ReleaseReply(Done, frozen=True):
    """One release, as `feed.release` describes it: never its name."""

    release: dict[str, Any]


# Requests.

_R = TypeVar("_R", bound=Done)


class Request(Struct, Generic[_R], frozen=True, kw_only=True, tag_field="verb"):
    """A request whose reply is a `_R`, or Refused or Failed."""

    help: ClassVar[str]
    changes_something: ClassVar[bool] = False

    @property
    def verb(self) -> str:
        """The verb, as the wire and the log name it."""
        return str(self.__struct_config__.tag)


class Status(Request[StatusReply], frozen=True, tag="status"):
    """Ask for the status of the service."""

    help: ClassVar[str] = "one screen of the running service's status, and what to do next"


class Reload(Request[ReloadReply], frozen=True, tag="reload"):
    """Poll every list now, and read the configuration again."""

    help: ClassVar[str] = "poll every list and read the configuration again; exit 2: the old configuration stays"
    changes_something: ClassVar[bool] = True


class HandOver(Request[HandOverReply], frozen=True, tag="hand-over"):
    """Start a new process of the service, and have it take over."""

    help: ClassVar[str] = "replace the process by a new one, of what is installed and configured now; no query is lost"
    changes_something: ClassVar[bool] = True


class Flush(Request[FlushReply], frozen=True, tag="flush"):
    """Remove the cached answers for a name (wire format in hexadecimal), and below it if `subtree`."""

    help: ClassVar[str] = "remove the cached answers for a name"
    changes_something: ClassVar[bool] = True

    name: _HexName
    subtree: bool = False


class Ask(Request[AskReply], frozen=True, tag="ask", rename={"client": "as"}):
    """Walk the way of this query (packet in hexadecimal) as if the address `client` had sent it."""

    help: ClassVar[str] = "walk the running service's own path as this client would, and show each step"

    packet: _HexPacket
    client: str


class Fetch(Request[FetchReply], frozen=True, tag="fetch"):
    """Poll one list now."""

    help: ClassVar[str] = "poll one list now, and show the result"
    changes_something: ClassVar[bool] = True

    list: str


class Explain(Request[ExplainReply], frozen=True, tag="explain"):
    """Poll one list now, as `fetch` does, and return each step."""

    help: ClassVar[str] = "show each step of the poll with its time, and what to do about a failure"
    changes_something: ClassVar[bool] = True

    list: str


class Decide(Request[DecideReply], frozen=True):
    """Hand over one signature for a decision on a list; `serial` is what the person named."""

    action: ClassVar[Action]
    changes_something: ClassVar[bool] = True

    list: str
    serial: int
    signature: _Signature


class Approve(Decide, frozen=True, tag=Action.APPROVE.value):
    """Approve the list that is held."""

    action: ClassVar[Action] = Action.APPROVE
    help: ClassVar[str] = "put the list that is held in force: two signatures"


class ApproveSetAside(Decide, frozen=True, tag=Action.APPROVE_SET_ASIDE.value):
    """Approve the lines set aside of the list in force."""

    action: ClassVar[Action] = Action.APPROVE_SET_ASIDE
    help: ClassVar[str] = "let the lines set aside of the list in force block: two signatures"


class Resume(Decide, frozen=True, tag=Action.RESUME.value):
    """Kept for those who type it: it is refused, and the text names the verb for lines set aside."""

    action: ClassVar[Action] = Action.RESUME
    help: ClassVar[str] = "no entries are suspended any more; for lines set aside: approve --set-aside"


class Rollback(Decide, frozen=True, tag=Action.ROLLBACK.value):
    """Return to the previous list, or confirm that."""

    action: ClassVar[Action] = Action.ROLLBACK
    help: ClassVar[str] = "return to the previous list for good: one signature; another person's confirms it"


class Revoke(Decide, frozen=True, tag=Action.REVOKE.value):
    """End the standing approval whose number is `serial`."""

    action: ClassVar[Action] = Action.REVOKE
    help: ClassVar[str] = "take back a standing approval, by its number: one signature"


class Stand(Request[DecideReply], frozen=True, tag=Action.STANDING.value):
    """Hand over one signature under a standing approval with these terms, as of feed.state.Terms."""

    help: ClassVar[str] = "approve beforehand what later serials of a list are held for, within limits: two signatures"
    changes_something: ClassVar[bool] = True

    list: str
    signature: _Signature
    until: Annotated[int, Meta(ge=0, le=2**40)]
    growth_to: _Count = 0
    refused_to: _Count = 0


class Release(Request[ReleaseReply], frozen=True, tag="release"):
    """Release a name (wire format in hexadecimal) for `for_s` seconds."""

    help: ClassVar[str] = "unblock a name on this host at once; confirm or end a release"
    changes_something: ClassVar[bool] = True

    name: _HexName
    reason: str
    for_s: float


class EndRelease(Request[ReleaseReply], frozen=True, tag="end-release"):
    """End the release of this number."""

    help: ClassVar[str] = "end release N: its name is blocked again"
    changes_something: ClassVar[bool] = True

    number: int


class ConfirmRelease(Request[ReleaseReply], frozen=True, tag="confirm-release"):
    """Hand over a signature that confirms the release of this number."""

    help: ClassVar[str] = "confirm release N"
    changes_something: ClassVar[bool] = True

    number: int
    signature: _Signature


class Read(Request[ReadReply], frozen=True, tag="read"):
    """Carry out a verb of READS, which reads the state folder, with these words of its command line."""

    help: ClassVar[str] = "read the state folder for a member of the control socket's group"

    words: Annotated[tuple[_Word, ...], Meta(max_length=16)]


class ReadMore(Request[ReadReply], frozen=True, tag="read-more"):
    """Hand over more of a result, from the octet `start` on."""

    help: ClassVar[str] = "the next part of what was read"

    token: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    start: Annotated[int, Meta(ge=0)]


AnyRequest = (
    Status
    | Reload
    | HandOver
    | Flush
    | Ask
    | Fetch
    | Explain
    | Approve
    | ApproveSetAside
    | Resume
    | Rollback
    | Revoke
    | Stand
    | Release
    | EndRelease
    | ConfirmRelease
    | Read
    | ReadMore
)

VERBS: Final[Mapping[str, type[Request[Any]]]] = {str(one.__struct_config__.tag): one for one in get_args(AnyRequest)}
"""Every request, by its verb."""
DECISIONS: Final[Mapping[Action, type[Decide]]] = {
    one.action: one for one in VERBS.values() if issubclass(one, Decide)
}
"""The requests that hand over a signature for a decision on a list."""


READS: Final[Mapping[tuple[str, ...], frozenset[str]]] = {
    ("list", "status"): frozenset({"--json"}),
    ("list", "held"): frozenset({"--json", "--statement"}),
    ("list", "audit"): frozenset({"--json", "--head", "--expect"}),
    ("list", "releases"): frozenset({"--json"}),
    ("list", "release"): frozenset({"--statement"}),
    ("list", "receipt"): frozenset({"--key"}),
    ("report",): frozenset({"--so-far", "--from", "--to", "--by", "--format"}),
    ("evidence",): frozenset({"--so-far", "--month"}),
}
"""The verbs that a service carries out for a member of its group, and their options: they read, and write no file."""
HERE: Final = "BLOCKLIST_RESOLVER_READS_HERE"
"""The variable that says to a process of the service's own: read the folder itself."""
READS_MARKED: Final[Mapping[tuple[str, ...], str]] = {("list", "release"): "--statement", ("evidence",): "--so-far"}
"""The option without which a verb of READS does more than read."""


class _Verb(Struct, frozen=True):
    """The verb of any request."""

    verb: str


_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_VERB: Final = msgspec.json.Decoder(_Verb)
_REQUEST: Final[msgspec.json.Decoder[Request[Any]]] = msgspec.json.Decoder(AnyRequest)


def request_of(line: bytes) -> Request[Any]:
    """Return the request in this line; Malformed if there is none."""
    try:
        verb = _VERB.decode(line).verb
    except _ERRORS:
        raise Malformed("not a request") from None
    if verb not in VERBS:
        raise Malformed("unknown command: the service may be an older version; restart it")
    try:
        return _REQUEST.decode(line)
    except _ERRORS:
        raise Malformed(f"malformed request {verb}: command and service may be of different versions") from None


def reply_of(line: bytes, request: Request[_R]) -> _R | Refused | Failed:
    """Return the reply to `request` in this line; NoReply if there is none."""
    (done,) = get_args(type(request).__orig_bases__[0])  # type: ignore[attr-defined]  # of Generic
    try:
        return cast(_R | Refused | Failed, msgspec.json.decode(line, type=done | Refused | Failed))
    except _ERRORS:
        raise NoReply from None


def line_of(message: Request[Any] | Reply) -> bytes:
    """Return a request or a reply as its line."""
    return msgspec.json.encode(message) + b"\n"
