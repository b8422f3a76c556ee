"""Names the files and folders of a host's state folder.

Rules:
- No other module names a file or a folder that lies directly in the state folder, except the keys: `seal` looks for
  those in two more folders. What lies inside a folder is named by the module that writes it.
"""

from pathlib import Path


class Places:
    """The files and folders of one state folder (`state.directory`); nothing is looked up and nothing is made.

    lists: a folder for each list (`list`). releases: names released on this host. receipts: signed statements for the
    authorities. evidence: bundles issued. national: keys and submissions of the national figure. audit_log: see
    `audit`. ledger: published counts. collected: what a fleet's compile host has read of its nodes' receipts.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.lists = self.directory / "lists"
        self.releases = self.directory / "releases"
        self.receipts = self.directory / "receipts"
        self.evidence = self.directory / "evidence"
        self.national = self.directory / "national"
        self.audit_log = self.directory / "audit.log"
        self.ledger = self.directory / "ledger.sqlite"
        self.collected = self.directory / "fleet-receipts.read"

    def list(self, list_id: str) -> Path:
        """Return the folder of one list."""
        return self.lists / list_id
