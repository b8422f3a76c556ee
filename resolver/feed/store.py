"""The files of one list, and the only order in which they are written: image, floor, state.

Rules:
- Every file is written whole (`whole`): a crash leaves the old file or the new one. An image, which another process
  writes, takes the same steps.
- An image has its name before the floor speaks of it, the floor is raised before the state speaks of the
  new list: what a start finds in the floor is complete.
- The copy of a zone comes last, and only of what came in force or is held: without it the whole zone is fetched.
- Folders 0700, files 0600. A file nobody speaks of any more is removed last.
"""

import tempfile
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from resolver import atomic_file
from resolver.feed.state import SINCE_0_1, Floor, Record, State

_STATE: Final = "state.json"
_FLOOR: Final = "floor.json"
_LINE_OCTETS: Final = 4
_T = TypeVar("_T", State, Floor)


class StateUnreadable(Exception):
    """A state file is not what these rules write; says which, never what stands in it."""


class Store:
    """The folder of one list. copies: whether copies of its zone may be there."""

    def __init__(self, folder: Path, *, copies: bool = False) -> None:
        self.folder = folder.absolute()
        self.copies = copies

    @property
    def metadata(self) -> Path:
        """Where the source keeps what verified."""
        return self.folder / "metadata"

    def prepare(self) -> None:
        """Make the folder and drop what a crash left half written."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.drop_parts(self.folder)
        atomic_file.drop_parts(self.metadata)

    def read_state(self) -> State:
        """The state as last written, a new one where there is none; StateUnreadable where it is damaged."""
        return self._read(_STATE, State) or State()

    def read_floor(self) -> Floor | None:
        """The floor as it was last written; StateUnreadable where it is damaged."""
        return self._read(_FLOOR, Floor)

    def open_part(self) -> tuple[int, Path]:
        """A new file to write an image to: its descriptor and its path."""
        handle, path = tempfile.mkstemp(suffix=atomic_file.PART, dir=self.folder)
        return handle, Path(path)

    def keep_copy(self, part: Path, name: str) -> None:
        """Have the copy of a zone on the disk, and give it its name."""
        atomic_file.fsync(part)
        part.replace(self.folder / name)
        self.fsync_folder()

    def fsync_image(self, part: Path) -> None:
        """Have the image's bytes on the disk."""
        atomic_file.fsync(part)

    def rename_image(self, part: Path, name: str) -> None:
        """Give the image its name."""
        part.replace(self.folder / name)

    def fsync_folder(self) -> None:
        """Have the names in the folder on the disk."""
        atomic_file.fsync(self.folder)

    def write_floor(self, floor: Floor) -> None:
        """Raise the floor."""
        self._write(_FLOOR, floor)

    def write_state(self, state: State) -> None:
        """Write the state."""
        self._write(_STATE, state)

    def drop_lines(self, image: str) -> None:
        """Forget the lines that an earlier image of this name had."""
        (self.folder / image).with_suffix(".lines").unlink(missing_ok=True)

    def line(self, record: Record, slot: int, slots: int) -> int | None:
        """The line of the list that put its entry into a slot of the record's image of `slots`; None where none is
        kept."""
        try:
            data = (self.folder / record.lines).read_bytes() if record.lines else b""
        except OSError:
            return None
        if len(data) != _LINE_OCTETS * slots or not 0 <= slot < slots:
            return None
        return int.from_bytes(data[_LINE_OCTETS * slot : _LINE_OCTETS * (slot + 1)], "little") or None

    def clean(self, state: State, floor: Floor | None) -> None:
        """Remove the images, lines and copies that neither state nor floor speak of, and the previous list's copy."""
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
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise StateUnreadable(name) from None

    def _write(self, name: str, value: State | Floor) -> None:
        known = _known(msgspec.to_builtins(value))
        atomic_file.write(self.folder / name, msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n")


def _known(value: Any) -> Any:
    """The same without what is empty and new since the release before."""
    if isinstance(value, dict):
        return {key: _known(one) for key, one in value.items() if one or key not in SINCE_0_1}
    return [_known(one) for one in value] if isinstance(value, list | tuple) else value
