"""A picture of the figures: for each workload a bar for each subject, by the median, with a line from least to most.

Plain SVG. The scale is logarithmic, for the costliest subject takes a hundred times what the floor does.
"""

import math
from collections.abc import Mapping
from html import escape

from tests.bench.ratios import Spread, shown

_LEFT, _WIDTH, _RIGHT = 300, 520, 80
_ROW, _BAR, _HEAD, _GAP = 18, 12, 32, 14
_STYLE = """
text { font: 12px sans-serif; fill: #222 } .head { font-weight: bold } .tick { fill: #666; font-size: 10px }
.grid { stroke: #ddd } .spread { stroke: #222 } .ours { fill: #2a6f97 } .floor { fill: #bbb } .peer { fill: #e0a458 }
"""


def drawn(title: str, unit: str, costs: Mapping[str, Mapping[str, Spread]], kinds: Mapping[str, str]) -> str:
    """The picture; costs: by workload, then by subject; kinds: `ours`, `floor` or `peer` by subject."""
    every = [one for by_subject in costs.values() for one in by_subject.values() if one.least > 0]
    low = math.floor(math.log10(min(one.least for one in every)))
    high = math.log10(max(one.most for one in every)) + 0.05

    def x(value: float) -> float:
        return _LEFT + _WIDTH * (math.log10(value) - low) / (high - low)

    parts, y = [f'<text x="8" y="18" class="head">{escape(title)}</text>'], 34
    for workload, by_subject in costs.items():
        parts.append(f'<text x="8" y="{y + 14}" class="head">{escape(workload)}, {escape(unit)}</text>')
        y += _HEAD
        bottom = y + _ROW * len(by_subject)
        for power in range(low, math.floor(high) + 1):
            at = x(10**power)
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y}" y2="{bottom}" class="grid"/>')
            parts.append(f'<text x="{at:.1f}" y="{y - 4}" text-anchor="middle" class="tick">{10**power:g}</text>')
        for subject, one in by_subject.items():
            middle = y + _BAR / 2
            parts += [
                f'<text x="{_LEFT - 6}" y="{y + 10}" text-anchor="end">{escape(subject)}</text>',
                f'<rect x="{_LEFT}" y="{y}" width="{x(one.median) - _LEFT:.1f}" height="{_BAR}" '
                f'class="{kinds[subject]}"/>',
                f'<line x1="{x(one.least):.1f}" x2="{x(one.most):.1f}" y1="{middle}" y2="{middle}" class="spread"/>',
                f'<text x="{x(one.most) + 6:.1f}" y="{y + 10}">{shown(one.median)}</text>',
            ]
            y += _ROW
        y += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{y}">'
        f"<style>{_STYLE}</style>" + "\n".join(parts) + "</svg>\n"
    )
