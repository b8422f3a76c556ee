"""The charts alone: one file, with definition and caveat in print."""

from xml.etree import ElementTree

from resolver.count import definition
from resolver.count.report.as_svg import as_svg
from tests.unit.count.spring import told

SVG = "{http://www.w3.org/2000/svg}"


def test_it_holds_every_chart_the_definition_and_the_caveat() -> None:
    svg = ElementTree.fromstring(as_svg(told(noise=True)))
    charts = svg.findall(f"{SVG}svg")
    assert len(charts) == 2
    said = " ".join(one.text or "" for one in svg.findall(f"{SVG}text"))
    for text in (definition.CAVEAT, definition.ATTEMPT, definition.IN_PRINT, "epsilon 1"):
        assert text in said
    ids = [one.get("id") for one in svg.iter() if one.get("id")]
    assert len(ids) == len(set(ids)) == 6
    bottom = float(charts[-1].get("y") or 0) + float(charts[-1].get("height") or 0)
    assert bottom < float(svg.get("height") or 0)
