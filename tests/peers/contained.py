"""Runs a command in an image's root folder as a container's runtime would, where no runtime can run.

    /usr/bin/python3 contained.py ROOT FOLDER CAPABILITIES WHO COMMAND...

Rules:
- ROOT is seen read-only. FOLDER (below /tmp) can be written, at its own path; so can /tmp and /run/blocklist-resolver,
  in memory.
- WHO is "service", the account of the image, or "edge". The groups are those that the chart's pods have. What the edge
  sees is as in its container: FOLDER is read-only, and /tmp and the service's folders are not there to write.
- Of all capabilities only CAPABILITIES ("bind" or "none") are in the bounding, permitted
  and effective sets; none is inheritable or ambient. Then come no_new_privs and, as RuntimeDefault, the profile of
  system calls that Debian's packages of container tools install.
- Debian's python3-seccomp loads the profile.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

ACCOUNT, CONTROL, EDGE = 10053, 10054, 10056
PROFILE = Path("/usr/share/containers/seccomp.json")
CLONE_NEWNS, CLONE_NEWIPC = 0x00020000, 0x08000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 8, 23, 24, 38
NET_BIND_SERVICE = 10
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def done(status: int, what: str) -> None:
    """OSError unless a call of libc succeeded."""
    if status != 0:
        raise OSError(ctypes.get_errno(), what)


def mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    """Mount, or change a mount."""
    words = (source.encode(), str(target).encode(), kind.encode() or None, flags, options.encode() or None)
    done(libc.mount(*words), f"mount {target}")


def in_memory(target: Path, owner: int, mode: str) -> None:
    """Mount a folder in memory."""
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode},uid={owner},gid={owner}")


def lay_out(root: Path, folder: Path, *, edge: bool) -> None:
    """Mount all that the container sees, and make its root the process's."""
    done(libc.unshare(CLONE_NEWNS | CLONE_NEWIPC), "unshare")
    mount("none", Path("/"), "", MS_REC | MS_PRIVATE)
    mount(str(root), root, "", MS_BIND)
    in_memory(root / "tmp", 0, "1777")
    if not edge:
        in_memory(root / "run" / "blocklist-resolver", ACCOUNT, "755")
    in_memory(root / "dev", 0, "755")
    for name in ("null", "zero", "urandom", "random"):
        (root / "dev" / name).touch()
        mount(f"/dev/{name}", root / "dev" / name, "", MS_BIND)
    mount("proc", root / "proc", "proc", MS_NOSUID | MS_NODEV)
    inside = root / folder.relative_to("/")
    inside.mkdir(parents=True)
    mount(str(folder), inside, "", MS_BIND)
    if edge:
        mount("none", inside, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
        mount("none", root / "tmp", "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    mount("none", root, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.chroot(root)
    os.chdir("/")


def calls(profile: Any, capabilities: set[str]) -> Any:
    """The filter of a profile, as it is for these capabilities on this machine."""
    import seccomp  # type: ignore[import-not-found] # Debian's, for Debian's Python

    compare = {"SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_NE": seccomp.NE, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ}
    made = seccomp.SyscallFilter(defaction=seccomp.ERRNO(38))
    for rule in profile["syscalls"]:
        wanted, against = rule.get("includes") or {}, rule.get("excludes") or {}
        if not set(wanted.get("caps", ())) <= capabilities or set(against.get("caps", ())) & capabilities:
            continue
        if "arches" in wanted and "amd64" not in wanted["arches"]:
            continue
        action = seccomp.ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else seccomp.ERRNO(1)
        arguments = [seccomp.Arg(one["index"], compare[one["op"]], one["value"]) for one in rule.get("args") or ()]
        for name in rule["names"]:
            try:
                made.add_rule(action, name, *arguments)
            except (RuntimeError, ValueError):
                continue  # a call that this library or this machine does not know
    return made


def become(account: int, capability: int) -> None:
    """Take an account of the image, with this set of capabilities."""
    for number in range(64):
        if libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1 and not capability >> number & 1:
            done(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), "bounding set")
    done(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep")
    os.setgroups([ACCOUNT, CONTROL, EDGE])
    os.setresgid(account, account, account)
    os.setresuid(account, account, account)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    done(libc.capset(header, (ctypes.c_uint32 * 6)(capability, capability, 0, 0, 0, 0)), "capset")
    done(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def main() -> None:
    """Put all in force and become the command."""
    root, folder, capabilities, who, *command = sys.argv[1:]
    edge, bind = who == "edge", capabilities == "bind"
    made = calls(json.loads(PROFILE.read_text()), {"CAP_NET_BIND_SERVICE"} if bind else set())
    lay_out(Path(root), Path(folder), edge=edge)
    become(EDGE if edge else ACCOUNT, 1 << NET_BIND_SERVICE if bind else 0)
    made.load()
    environment = {"PATH": "/opt/blocklist-resolver/bin:/usr/bin", "LANG": "C.UTF-8", "TMPDIR": "/tmp"}
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
