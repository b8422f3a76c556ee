"""The Lua policy beside core on a million names: one rule, two readers of one image."""

import random
import time
from pathlib import Path

from resolver.core import codes
from resolver.plugin import folder as plugin_folder
from resolver.plugin.folder import Writer
from tests.unit.plugin import lua
from tests.unit.plugin.parts import KEY, tables

NAMES = 1_000_000
A_TURN = 125_000


def test_a_million_names_have_the_verdict_of_core(tmp_path: Path, figures: dict[str, str]) -> None:
    draw = random.Random(3)
    first, second = lua.lines(20_000, draw), lua.lines(5_000, draw)
    Writer(tmp_path, KEY).write(tables((first, second), released=(["!n7.a.test", "!www.n10.b.test"],)))
    policy, one = plugin_folder.read(tmp_path, KEY, {}), lua.Lua(tmp_path)
    seen = dict.fromkeys((codes.ASK, codes.PASS, codes.BLOCK), 0)
    took = 0.0
    for _ in range(NAMES // A_TURN):
        asked = lua.many_questions([*first, *second], A_TURN, draw)
        started = time.process_time()
        said = one.questions(asked)
        took += time.process_time() - started
        assert said == lua.by_core(policy, asked)
        for verdict in seen:
            seen[verdict] += said[::4].count(verdict)
    figures["the Lua policy and core on a million names"] = (
        f"{seen[codes.BLOCK]:,} blocked, {seen[codes.PASS]:,} passed, none differs; "
        f"{1e6 * took / NAMES:.2f} us of CPU a name"
    )
    lua.close_all()
    assert (seen[codes.ASK], sum(seen.values())) == (0, NAMES)
    assert min(seen[codes.BLOCK], seen[codes.PASS]) > NAMES // 10
