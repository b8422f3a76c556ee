"""The authority's commands: make a repository, publish and withdraw lists, keep it fresh, replace keys.

Rules:
- An empty list is never published: to end a list, withdraw it.
- Serials go up. The same serial is published again only with the same file, to renew its dates.
- All copies of a list for recipients are signed together: one target each. A recipient loses its copy only by name.
- If the keys here do not reach the threshold, the signed metadata waits in `staged`; each `sign` adds one person's
  signature, and the last one needed publishes. Nothing that waits is served, and exactly what was signed is published.
- New targets keys sign the published lists again; after a theft the lists are dropped instead.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from resolver import atomic_file
from resolver.authority import clock, elsewhere, recipients
from resolver.authority.issue import Issue as Issue
from resolver.authority.issue import counted
from resolver.authority.repository import (
    STAGED_LIST,
    STAGED_ROOT,
    STAGED_TARGETS,
    AuthorityError,
    Refused,
    Repository,
    read_key,
)
from resolver.authority.serve import FRESH_SECONDS as FRESH_SECONDS
from resolver.authority.serve import clean, date, next_version, serve
from resolver.authority.serve import sign as sign_by
from resolver.signed.metadata import Custom, CustomMalformed, custom_of, to_json

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
MAX_KEYS: Final = 10
ROOT_DAYS: Final = 365
TARGETS_DAYS: Final = 90

# Stands in the root itself, so that each signature of the root covers it too.
_DROP_LISTS: Final = "x-drop-lists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The result of a command; `missing` counts the signatures still needed if it is not published yet.

    entries, blocked, exceptions: distinct names of a list, in all, those that block, and those that are exceptions.
    what: a description of what was signed, for a person to check.
    """

    published: bool
    missing: int = 0
    entries: int = 0
    blocked: int = 0
    exceptions: int = 0
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a repository is compared with before it signs a list.

    served: where it is served. receipts: files or folders of hosts' receipts. clock_was_ahead: the last list was issued
    by a clock that was ahead, and counts for nothing.
    """

    served: elsewhere.Place | None = None
    receipts: tuple[Path, ...] = ()
    clock_was_ahead: bool = False


NOTHING_SEEN: Final = Seen()


def init(folder: Path, *, threshold: int, keys: int, now: float) -> None:
    """Make a repository without lists; root and targets need `threshold` signatures of `keys` keys."""
    repository = Repository(folder)
    if not 1 <= threshold <= keys <= MAX_KEYS:
        raise AuthorityError(f"expected 1 <= threshold <= keys <= {MAX_KEYS}")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    with repository.alone():
        if repository.exists():
            raise Refused(f"{folder}: already holds a repository")
        repository.make_folders()
        root = Metadata(Root(expires=date(now, ROOT_DAYS * 86400), consistent_snapshot=True))
        for role in ROLES:
            many = role in ("root", "targets")
            for signer in repository.make_keys(role, keys if many else 1):
                root.signed.add_key(signer.public_key, role)
            root.signed.roles[role].threshold = threshold if many else 1
        sign_by(root, repository.signers(root.signed, "root"))
        repository.write_metadata(root)
        version = next_version(repository, Targets.type, now)
        targets = Metadata(Targets(version=version, expires=date(now, TARGETS_DAYS * 86400)))
        sign_by(targets, repository.signers(root.signed, "targets"))
        serve(repository, root.signed, targets, now=now, seconds=FRESH_SECONDS)


def publish(folder: Path, issue: Issue, *, now: float, seen: Seen = NOTHING_SEEN) -> Done:
    """Publish a list, or stage it for more signatures; Refused with the reasons if it may not be published.

    seen: what is compared with the repository.
    """
    numbers = counted(issue)
    expires = None if issue.expires_s is None else int(now + issue.expires_s)
    custom = Custom(
        list=issue.list_id,
        serial=issue.serial,
        issued=int(now),
        expires=expires,
        withdrawn=False,
        entries=issue.expect_entries,
    )
    contents = {issue.list_id: issue.data}
    if issue.recipients:
        plain = hashlib.sha256(issue.data).hexdigest()
        custom = replace(custom, encryption=recipients.ENCRYPTION, plain=plain)
        contents = {
            recipients.target_of(issue.list_id, name): recipients.encrypted(issue.data, key)
            for name, key in issue.recipients.items()
        }
    with Repository(folder).alone():
        kept = {recipients.target_of(issue.list_id, name) for name in issue.drop} | contents.keys()
        targets = Repository(folder).current_targets().signed
        lost = sorted(_targets_of(targets, issue.list_id) - kept - {issue.list_id})
        if lost:
            names = ", ".join(path.removeprefix(f"{issue.list_id}-") for path in lost)
            raise Refused(f"{issue.list_id}: already published for {names}: give each as --recipient or --drop")
        done = _issue(folder, custom, contents, now, seen)
    return dataclasses.replace(done, **numbers._asdict())


def withdraw(folder: Path, *, list_id: str, serial: int, now: float, seen: Seen = NOTHING_SEEN) -> Done:
    """Publish that a list is withdrawn; its target then holds a comment and no names."""
    custom = Custom(list=list_id, serial=serial, issued=int(now), expires=None, withdrawn=True)
    comment = f"# withdrawn, serial {serial}\n".encode()
    with Repository(folder).alone():
        published = _targets_of(Repository(folder).current_targets().signed, list_id)
        if not published:
            raise Refused(f"{list_id}: no such list is published")
        return _issue(folder, custom, dict.fromkeys(published, comment), now, seen)


def refresh(
    folder: Path, *, now: float, seconds: float = FRESH_SECONDS, clock_was_ahead: bool = False
) -> None:
    """Sign snapshot and timestamp again, valid for `seconds`."""
    repository = Repository(folder)
    with repository.alone():
        if not clock_was_ahead:
            clock.check_behind(repository, now)
        root, targets = repository.root().signed, repository.current_targets()
        if not root.get_verification_result("targets", targets.signed_bytes, targets.signatures):
            raise AuthorityError(
                "the published lists are not signed by the root's targets keys: publish or rotate again"
            )
        serve(repository, root, targets, now=now, seconds=seconds)


def rotate(folder: Path, *, role: str, now: float, drop_lists: bool = False) -> Done:
    """Replace all keys of `role`; with `drop_lists` no list is published until the next publish."""
    repository = Repository(folder)
    with repository.alone():
        old = repository.root()
        root = Metadata(deepcopy(old.signed))
        root.signed.version += 1
        root.signed.expires = date(now, ROOT_DAYS * 86400)
        before = repository.signers(old.signed, "root")
        for keyid in list(root.signed.roles[role].keyids):
            root.signed.revoke_key(keyid, role)
        made = repository.make_keys(role, len(old.signed.roles[role].keyids))
        for signer in made:
            root.signed.add_key(signer.public_key, role)
        root.signed.unrecognized_fields.pop(_DROP_LISTS, None)
        if drop_lists:
            root.signed.unrecognized_fields[_DROP_LISTS] = True
        sign_by(root, [*before, *(made if role == "root" else [])])
        return _root_signed(repository, root, now)


def sign(folder: Path, *, key: Path, now: float, data: bytes | None = None) -> Done:
    """Add one person's signature to the staged metadata, and publish it if that completes it.

    Refused if `data` is given and is not the list that waits.
    """
    repository = Repository(folder)
    signer = read_key(key)
    with repository.alone():
        staged = repository.staged_metadata(STAGED_ROOT) or repository.staged_metadata(STAGED_TARGETS)
        if staged is None:
            raise AuthorityError("nothing waits for a signature")
        current = repository.root().signed
        roles = [current.roles[staged.signed.type]]
        if staged.signed.type == "root":
            roles.append(staged.signed.roles["root"])
        if not any(signer.public_key.keyid in role.keyids for role in roles):
            raise Refused(f"{key}: not one of the keys of {staged.signed.type}")
        what, digest = _described(repository, staged.signed)
        if data is not None and digest != hashlib.sha256(data).hexdigest():
            raise Refused(f"{what}: not the list of --list")
        staged.sign(signer, append=True)
        if staged.signed.type == "root":
            return dataclasses.replace(_root_signed(repository, staged, now), what=what)
        return dataclasses.replace(_targets_signed(repository, current, staged, now), what=what)


def _described(repository: Repository, signed: Root | Targets) -> tuple[str, str]:
    """Return a description of what waits, and the SHA-256 of its list in clear ("" if it is not a list)."""
    if isinstance(signed, Root):
        dropped = ", no list" if signed.unrecognized_fields.get(_DROP_LISTS) else ""
        return f"root version {signed.version}{dropped}", ""
    for path in repository.staged_lists():
        target = signed.targets.get(path)
        if target is not None:
            custom = custom_of(target.custom)
            digest = custom.plain or target.hashes["sha256"]
            withdrawn = ", withdrawn" if custom.withdrawn else ""
            return f"{custom.list}: serial {custom.serial}{withdrawn}, SHA-256 {digest}", digest
    return f"targets version {signed.version}", ""


def _targets_of(targets: Targets, list_id: str) -> set[str]:
    """Return the target paths under which a list is published."""
    return {path for path, target in targets.targets.items() if custom_of(target.custom).list == list_id}


def _issue(folder: Path, custom: Custom, contents: Mapping[str, bytes], now: float, seen: Seen) -> Done:
    """Sign the targets with all targets of one list replaced by `contents`; publish or stage them."""
    repository = Repository(folder)
    try:
        custom_of(to_json(custom))
    except CustomMalformed:
        raise AuthorityError("id or serial out of bounds: [a-z0-9-], at most 32; 1 to 2^63 - 1") from None
    staged = repository.staged_metadata(STAGED_TARGETS)
    if staged is not None and not repository.staged_lists().keys() <= _targets_of(staged.signed, custom.list):
        raise Refused(f"{custom.list}: another list waits for signatures; complete that one first")
    root = repository.root().signed
    current = repository.current_targets().signed
    old = _targets_of(current, custom.list)
    for path, data in contents.items():
        if path in current.targets and path not in old:
            raise Refused(f"{path}: this target belongs to another list")
        for before in old:
            _forward(current.targets[before], custom, custom.plain or hashlib.sha256(data).hexdigest())
            if not seen.clock_was_ahead:
                clock.check_issued(custom_of(current.targets[before].custom), custom)
    digest = custom.plain or hashlib.sha256(next(iter(contents.values()))).hexdigest()
    elsewhere.check_receipts(elsewhere.receipts_of(seen.receipts, custom.list), custom, digest, now)
    if not seen.clock_was_ahead:
        clock.check_behind(repository, now)
    clock.check_ahead(repository, now)
    if seen.served is not None:
        elsewhere.check_served(repository, seen.served, now)
    targets = Metadata(deepcopy(current))
    for path in old - contents.keys():
        del targets.signed.targets[path]
    for path, data in contents.items():
        digest = hashlib.sha256(data).hexdigest()
        targets.signed.targets[path] = TargetFile(len(data), {"sha256": digest}, path, {"custom": to_json(custom)})
    targets.signed.version = next_version(repository, Targets.type, now)
    targets.signed.expires = date(now, TARGETS_DAYS * 86400)
    sign_by(targets, repository.signers(root, "targets"))
    repository.unstage_lists()
    for path, data in contents.items():
        repository.stage(STAGED_LIST + path, data)
    return _targets_signed(repository, root, targets, now)


def _forward(old: TargetFile, custom: Custom, digest: str) -> None:
    before = custom_of(old.custom)
    if custom.serial < before.serial:
        raise Refused(f"{custom.list}: serial {custom.serial} is below {before.serial}, which is published")
    if custom.serial == before.serial and digest != (before.plain or old.hashes["sha256"]):
        raise Refused(f"{custom.list}: serial {custom.serial} is already published with other content")


def _targets_signed(repository: Repository, root: Root, targets: Metadata[Any], now: float) -> Done:
    """Publish targets that carry enough signatures, and the lists that wait with them; else stage them."""
    result = root.get_verification_result("targets", targets.signed_bytes, targets.signatures)
    if not result:
        repository.stage(STAGED_TARGETS, targets.to_bytes())
        return Done(published=False, missing=result.missing)
    for path, waiting in repository.staged_lists().items():
        data = waiting.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if path not in targets.signed.targets or targets.signed.targets[path].hashes["sha256"] != digest:
            raise Refused(f"{path}: the list that waits is not the one that was signed; publish it again")
        atomic_file.write(repository.targets / f"{digest}.{path}", data, 0o640)
    old = repository.current_targets().signed
    serve(repository, root, targets, now=now, seconds=FRESH_SECONDS)
    repository.unstage_lists()
    clean(repository, old.targets, targets.signed.targets)
    return Done(published=True)


def _root_signed(repository: Repository, root: Metadata[Any], now: float) -> Done:
    """Publish a root that has enough signatures by the old and the new keys, and sign what is below it; else stage it.
    """
    old = repository.root().signed
    result = root.signed.get_root_verification_result(old, root.signed_bytes, root.signatures)
    if not result:
        repository.stage(STAGED_ROOT, root.to_bytes())
        return Done(published=False, missing=max(result.first.missing, result.second.missing))
    current = repository.current_targets()
    targets = Metadata(deepcopy(current.signed))
    changed = set(old.roles["targets"].keyids) != set(root.signed.roles["targets"].keyids)
    if changed:
        # Lists staged for the old keys carry no signature of the new ones.
        repository.unstage_lists()
        targets.signed.version = next_version(repository, Targets.type, now)
        targets.signed.expires = date(now, TARGETS_DAYS * 86400)
        if root.signed.unrecognized_fields.get(_DROP_LISTS):
            targets.signed.targets = {}
        sign_by(targets, repository.signers(root.signed, "targets"))
        if not root.signed.get_verification_result("targets", targets.signed_bytes, targets.signatures):
            raise AuthorityError(f"the new targets keys must stay in {repository.keys} until the new root is signed")
    repository.write_metadata(root)
    serve(repository, root.signed, targets if changed else current, now=now, seconds=FRESH_SECONDS)
    repository.unstage(STAGED_ROOT)
    return Done(published=True)
