"""The side of the resolver that a zone's list reaches, fed by a scripted primary."""

import time
from pathlib import Path
from typing import cast

from resolver.config import config
from tests.fakes.authority import Authority
from tests.fakes.enforcer import Enforcer
from tests.fakes.primary import Primary, Record


def blocks(*names: str) -> list[Record]:
    """The records that block names and what is below them."""
    return [(owner, "CNAME", ".") for name in names for owner in (name, f"*.{name}")]


class Zoned(Enforcer):
    """Fed by a zone; its clock is this host's, moved on by `later` seconds. `root`: the key's file. `of_state`,
    `incremental`: more of the configuration, which keeps the keys in the state folder where it names no other."""

    def __init__(
        self,
        primary: Primary,
        folder: Path,
        root: Path,
        settings: str = "",
        *,
        of_state: str = "",
        incremental: bool = False,
    ) -> None:
        self.primary, self.root, self.later = primary, root, 0.0
        self.of_state, self.incremental = of_state, incremental
        super().__init__(cast(Authority, None), folder, settings, now=lambda: time.time() + self.later)

    def configured(self) -> config.Config:
        text = f"""
            [upstream]
            servers = ["127.0.0.1:5301"]
            [page]
            addresses = ["192.0.2.1"]
            listen = []
            [state]
            directory = "{self.folder}"
            {self.of_state}
            [[list]]
            id = "demo"
            demonstration = true
            hard_limit = "4h"
            expire = "lift"
            [list.source]
            kind = "zone"
            url = "{self.primary.url}"
            root = "{self.root}"
            poll = "1m"
            {"incremental = true" if self.incremental else ""}
            [list.guard]
            {self.settings or "expect_entries = [1, 10]"}
        """
        return config.parse(text, "resolver.toml")
