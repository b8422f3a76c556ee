"""A compile host and a node in one process: the feed's side of both, with a folder between them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from resolver.config import config
from resolver.feed.fleet import Publisher
from resolver.feed.release import Covered, Release, Releases
from resolver.signed import statement
from tests.fakes.enforcer import Enforcer, wire


def make_keys(folder: Path) -> Path:
    """A folder of a fleet's keys."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in (("digest.key", 16), ("seal.key", 32)):
        (folder / name).write_bytes(os.urandom(size))
        (folder / name).chmod(0o600)
    return folder


@dataclass
class CompileHost(Enforcer):
    """Publishes what it enforces."""

    keys_folder: Path = Path()
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def configured(self) -> config.Config:
        found = super().configured()
        return replace(found, state=replace(found.state, keys=str(self.keys_folder)))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.published = self.folder.parent / "fleet"
        self.releases = Releases(
            self.folder / "releases",
            self.keys,
            self.feed.audit,
            now=self._clock,
            enforce=lambda _: None,
            report=lambda *_: None,
        )
        self.releases.recover()
        self.publisher = self.publishing()

    def publishing(self) -> Publisher:
        """A new process, as far as the folder can tell."""
        return Publisher(
            self.published,
            self.key,
            self.feed,
            self.releases,
            digest_key=self.keys.digest_id,
            beat=10.0,
            now=self._clock,
        )

    @property
    def root(self) -> bytes:
        return statement.pem_of(statement.public_of(self.key))

    async def publish(self) -> None:
        """Poll, and publish what is in force."""
        await self.list.poll()
        self.publisher.publish()

    def release(self, name: str, for_s: float = 86400) -> Release:
        """Release a name in the fleet."""
        covered = (Covered(list="demo", serial=7, digest="0" * 64),)
        return self.releases.add(wire(name), covered, uid=0, reason="a school", for_s=for_s)

    def said(self, name: str = "demo") -> dict[str, Any]:
        """What is published under a name."""
        return statement.claimed((self.published / f"{name}.json").read_bytes())[0]

    def say(self, said: dict[str, Any], name: str = "demo", key: Ed25519PrivateKey | None = None) -> None:
        """Publish something else."""
        (self.published / f"{name}.json").write_bytes(statement.sign(said, key or self.key))


@dataclass
class Node(Enforcer):
    """Pulls what a compile host publishes."""

    keys_folder: Path = Path()
    root: Path = Path()
    url: str = ""
    seed: str = ""
    minimum_serial: int = 0
    released: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)

    def configured(self) -> config.Config:
        found = super().configured()
        (one,) = found.lists
        source = config.Source(
            kind="image",
            url=self.url,
            root=str(self.root),
            target="demo",
            seed=self.seed,
            minimum_serial=self.minimum_serial,
        )
        state = replace(found.state, keys=str(self.keys_folder))
        return replace(found, lists=(replace(one, source=source),), state=state)

    def follow(self, list_id: str, released: Iterable[tuple[int, bytes]]) -> None:
        self.released[list_id] = list(released)


def pair(folder: Path, authority: Any, settings: str = "", **node: Any) -> tuple[CompileHost, Node]:
    """A compile host of a list, and a node of it; both recovered."""
    keys = make_keys(folder / "keys")
    host = CompileHost(authority, folder / "compile", settings, keys_folder=keys)
    root = folder / "compile.pub"
    root.write_bytes(host.root)
    host.feed.recover()
    stated = {"keys_folder": keys, "root": root, "url": host.published.as_uri(), "settings": settings, **node}
    one = Node(authority, folder / "node", **stated)
    one.feed.recover()
    return host, one
