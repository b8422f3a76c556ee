"""`make fuzz SECONDS=3600` gives sequences (`tests.fuzz.world`) to the compiled core, led by libFuzzer.

Rules:
- It runs in the Python of `tests.sanitize.build`, which has libFuzzer and the address sanitizer in it. The core tells
  libFuzzer which of its branches were taken and what was compared, and so which sequence is worth changing further.
- What does not agree with the model ends the process as a fault of memory does; libFuzzer writes the sequence to
  build/fuzz. `--play FILE` plays it again.
"""

import argparse
import ctypes
import os
import random
import sys
import traceback
from pathlib import Path

from tests.fuzz import sequences, world
from tests.parity import make_corpus, twin

FOLDER = Path(__file__).parents[2] / "build" / "fuzz"
DRAWN = 200
WORDS = (make_corpus.OPT, b"\xc0\x0c", b"\xc0\x0c\0\5\0\1", b"\0\x0f\0\2", b"\0\x0b\0\0", b"\0\1\0\1", b"\x81\x80")
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.c_size_t)


def write_seeds(folder: Path) -> None:
    """What libFuzzer starts with: the corpus, and sequences by chance."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, octets in sequences.seeds():
        (folder / name).write_bytes(octets)
    for number in range(DRAWN):
        (folder / f"drawn-{number}").write_bytes(sequences.drawn(random.Random(number)))


def write_words(path: Path) -> None:
    """Octets that libFuzzer puts in: the names of the lists, and what begins records."""
    lines = ("".join(f"\\x{octet:02x}" for octet in word) for word in (*world.NAMES, *WORDS) if len(word) > 1)
    path.write_text("".join(f'"{line}"\n' for line in lines))


def lead(seconds: int, folder: Path, more: list[str]) -> int:
    """Let libFuzzer choose sequences for so many seconds; it ends the process at a finding."""
    try:
        driver = ctypes.CDLL(None).LLVMFuzzerRunDriver
    except AttributeError:
        raise SystemExit("this Python has no libFuzzer in it: run `make fuzz`") from None
    rooms = world.Rooms(twin.compiled)

    def play(data: ctypes.Array[ctypes.c_uint8], size: int) -> int:
        try:
            world.World(rooms, ctypes.string_at(data, size)).play()
        except BaseException:  # noqa: BLE001 - whatever it is, it is a finding
            traceback.print_exc()
            sys.stderr.flush()
            os.abort()
        return 0

    corpus, seeds, words = folder / "corpus", folder / "seeds", folder / "words.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    write_seeds(seeds)
    write_words(words)
    options = [
        "fuzz", f"-max_total_time={seconds}", "-max_len=4096", "-timeout=300", "-rss_limit_mb=2048", "-detect_leaks=0",
        f"-dict={words}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-entropic=0", *more,
        str(corpus), str(seeds),
    ]  # fmt: skip
    arguments = (ctypes.c_char_p * (len(options) + 1))(*(option.encode() for option in options), None)
    count, vector = ctypes.c_int(len(options)), ctypes.cast(arguments, ctypes.POINTER(ctypes.c_char_p))
    said: int = driver(ctypes.byref(count), ctypes.byref(vector), CALLBACK(play))
    return said


def main() -> None:
    """Fuzz, or play one file."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.packets")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--play", type=Path)
    parser.add_argument("more", nargs="*", help="options of libFuzzer's own, after --")
    given = parser.parse_args()
    if given.play:
        played = world.World(world.Rooms(twin.compiled), given.play.read_bytes())
        played.play()
        print(*played.transcript, sep="\n")
        return
    sys.exit(lead(given.seconds, given.folder.resolve(), given.more))


if __name__ == "__main__":
    main()
