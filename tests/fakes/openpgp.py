"""An authority that signs and encrypts with Debian's gpg, and the home of whom it encrypts to."""

import subprocess
from pathlib import Path


def gpg(home: Path, *arguments: str, data: bytes = b"") -> bytes:
    """What gpg writes, run as a person would; CalledProcessError where it fails."""
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", "--trust-model", "always"]
    return subprocess.run([*command, *arguments], input=data, capture_output=True, check=True).stdout


class Person:
    """A home with one key, and what is done with it."""

    def __init__(self, home: Path, name: str, *, passphrase: str = "") -> None:
        home.mkdir(mode=0o700)
        self.home, self.mail = home, f"{name}@{name}.example"
        gpg(home, "--passphrase", passphrase, "--quick-gen-key", f"<{self.mail}>", "default", "default", "never")
        self.public = gpg(home, "--armor", "--export", self.mail)

    def knows(self, *others: "Person") -> None:
        for other in others:
            gpg(self.home, "--import", data=other.public)

    def seals(self, data: bytes, to: "Person", *more: str) -> bytes:
        """`data`, signed and encrypted."""
        return gpg(self.home, *more, "--recipient", to.mail, "--sign", "--encrypt", data=data)

    def encrypts(self, data: bytes, to: "Person", *more: str) -> bytes:
        return gpg(self.home, *more, "--recipient", to.mail, "--encrypt", data=data)

    def signs(self, data: bytes, *more: str) -> bytes:
        return gpg(self.home, *more, "--sign", data=data)

    def ends(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent"], check=False)
