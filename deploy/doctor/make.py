#!/usr/bin/env python3
"""Makes the doctor's zipapp, which needs nothing but Python 3.11: `python3 deploy/doctor/make.py build/doctor.pyz`.

Rules:
- It holds resolver/doctor and nothing else of ours; the same source makes the same octets.
- It needs no list, no root and no other file.
"""

import sys
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SHEBANG: Final = b"#!/usr/bin/env python3\n"
START: Final = "import sys\n\nfrom resolver.doctor.command import main\n\nsys.exit(main())\n"
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)
_PLAIN, _EXECUTABLE = 0o644, 0o755


def contents() -> dict[str, bytes]:
    """Return every file of the archive."""
    room = ROOT / "resolver" / "doctor"
    paths = [ROOT / "resolver" / "__init__.py", *sorted(room.glob("*.py")), *sorted(room.glob("*.json"))]
    return {"__main__.py": START.encode(), **{str(one.relative_to(ROOT)): one.read_bytes() for one in paths}}


def write(file: Path) -> None:
    """Write the zipapp."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(SHEBANG)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in contents().items():
                one = zipfile.ZipInfo(name, _LONG_AGO)
                one.external_attr, one.compress_type = _PLAIN << 16, zipfile.ZIP_DEFLATED
                archive.writestr(one, data)
    file.chmod(_EXECUTABLE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make.py FILE")
    write(Path(sys.argv[1]))
