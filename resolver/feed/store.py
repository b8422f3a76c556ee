"""Reads and writes the files of one list, and keeps their only order: image, floor, state.

Rules:
- Every file is written whole (`atomic_file`): a crash leaves the old file or the new one. An image, which another
  process writes, takes the same steps.
- An image is renamed before the floor names it, and the floor is raised before the state names the new list: the image
  of a floor that a start finds is complete.
- The copy of a zone comes last, and only if its list is in force or held. Without it the whole zone is fetched.
- When a poll last succeeded is written at each good poll and not fsynced: what a crash loses of it makes an alarm come
  sooner, and no list depends on it.
- Folders have mode 0700, files 0600. Files that neither floor nor state name are removed last.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from resolver import atomic_file
from resolver.feed.state import SINCE_0_1, Floor, Record, State, without_retired

_STATE: Final = "state.json"
_FLOOR: Final = "floor.json"
_LAST_SUCCESS: Final = "last-success"
_LINE_OCTETS: Final = 4
_T = TypeVar("_T", State, Floor)


def in_force_once(lists: Path) -> frozenset[str]:
    """Return the ids of the lists that were ever in force on this host; lists: the folder of their folders."""
    return frozenset(path.parent.name for path in lists.glob(f"*/{_FLOOR}"))


class StateUnreadable(Exception):
    """A state file is damaged; the text names the file, never its content."""


class Store:
    """The folder of one list. copies: copies of its zone may be kept in it."""

    def __init__(self, folder: Path, *, copies: bool = False) -> None:
        self.folder = folder.absolute()
        self.copies = copies

    @property
    def metadata(self) -> Path:
        """The folder in which the source keeps the metadata that verified."""
        return self.folder / "metadata"

    def prepare(self) -> None:
        """Make the folder and remove files that a crash left half written."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.drop_parts(self.folder)
        atomic_file.drop_parts(self.metadata)

    def is_new(self) -> bool:
        """Return whether neither state nor floor was ever written."""
        return not (self.folder / _STATE).exists() and not (self.folder / _FLOOR).exists()

    def read_state(self) -> State:
        """Return the state as last written, a new one if there is none; StateUnreadable if it is damaged."""
        return self._read(_STATE, State) or State()

    def read_floor(self) -> Floor | None:
        """Return the floor as last written, if any; StateUnreadable if it is damaged."""
        return self._read(_FLOOR, Floor)

    def open_part(self) -> tuple[int, Path]:
        """Return a new file to write an image to: its descriptor and its path."""
        handle, path = tempfile.mkstemp(suffix=atomic_file.PART, dir=self.folder)
        return handle, Path(path)

    def keep_copy(self, part: Path, name: str) -> None:
        """Fsync the copy of a zone, and give it its name."""
        atomic_file.fsync(part)
        part.replace(self.folder / name)
        self.fsync_folder()

    def fsync_image(self, part: Path) -> None:
        """Fsync the image."""
        atomic_file.fsync(part)

    def rename_image(self, part: Path, name: str) -> None:
        """Give the image its name."""
        part.replace(self.folder / name)

    def fsync_folder(self) -> None:
        """Fsync the folder, so that its file names last."""
        atomic_file.fsync(self.folder)

    def keep_files(self, parts: tuple[Path, ...], names: tuple[str, ...]) -> None:
        """Fsync an image and the files that belong to it, and give each its name."""
        for part, name in zip(parts, names, strict=True):
            self.fsync_image(part)
            self.rename_image(part, name)
        self.fsync_folder()

    def keep_image(self, sealed: bytes, name: str) -> None:
        """Keep an image that another host has sealed. Line numbers of an earlier image of that name go."""
        output, part = self.open_part()
        try:
            with os.fdopen(output, "wb") as file:
                file.write(sealed)
            (self.folder / name).with_suffix(".lines").unlink(missing_ok=True)
            self.keep_files((part,), (name,))
        finally:
            part.unlink(missing_ok=True)

    def write_floor(self, floor: Floor) -> None:
        """Write the floor."""
        self._write(_FLOOR, floor)

    def write_state(self, state: State) -> None:
        """Write the state."""
        self._write(_STATE, state)

    def write_last_success(self, at: int) -> None:
        """Write when a poll last succeeded (unix seconds); on OSError the old moment stays."""
        output, part = self.open_part()
        try:
            with os.fdopen(output, "wb") as file:
                file.write(b"%d\n" % at)
            part.replace(self.folder / _LAST_SUCCESS)
        finally:
            part.unlink(missing_ok=True)

    def read_last_success(self, now: float) -> int:
        """Return when a poll last succeeded, in unix seconds; 0 if that is unknown, or later than `now`."""
        try:
            at = int((self.folder / _LAST_SUCCESS).read_bytes()[:20])
        except (OSError, ValueError):
            return 0
        return at if 0 <= at <= now else 0

    def line(self, record: Record, slot: int, slots: int) -> int | None:
        """Return the number of the line whose entry is in `slot` of the image of `record`; None if none is kept.

        slots: how many slots the image has.
        """
        try:
            data = (self.folder / record.lines).read_bytes() if record.lines else b""
        except OSError:
            return None
        if len(data) != _LINE_OCTETS * slots or not 0 <= slot < slots:
            return None
        return int.from_bytes(data[_LINE_OCTETS * slot : _LINE_OCTETS * (slot + 1)], "little") or None

    def clean(self, state: State, floor: Floor | None) -> None:
        """Remove the images, lines and copies that neither state nor floor name, and the previous list's copy."""
        newest = [state.in_force, state.held and state.held.record, floor and floor.record]
        records = [*newest, state.previous]
        kept = {name for record in records if record for name in (record.image, record.lines)}
        kept |= {record.copy for record in newest if record and self.copies}
        for pattern in ("*.image", "*.lines", "*.copy"):
            for path in self.folder.glob(pattern):
                if path.name not in kept:
                    path.unlink()

    def _read(self, name: str, kind: type[_T]) -> _T | None:
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            written = msgspec.json.decode(data, type=dict[str, Any])
            return msgspec.convert(without_retired(written) if kind is State else written, kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
            raise StateUnreadable(name) from None

    def _write(self, name: str, value: State | Floor) -> None:
        known = _known(msgspec.to_builtins(value))
        atomic_file.write(self.folder / name, msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n")


def _known(value: Any) -> Any:
    """Return `value` without the keys that are empty and that version 0.1 does not know."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items() if one or key not in SINCE_0_1}
    return [_known(one) for one in value] if isinstance(value, list | tuple) else value
