"""The image of the rehearsal: one name, itself alone."""

from resolver.config.for_core import REHEARSAL
from resolver.core import image
from resolver.service import rehearsal
from tests.unit.query.parts import KEY
from tests.unit.service.test_in_force import config

NAMED = '[rehearsal]\nname = "block-test.isp.example"'


def test_without_a_name_there_is_nothing() -> None:
    assert rehearsal.images(config(""), KEY) == {}
    assert rehearsal.line(config("")) == ""


def test_with_a_name_there_is_an_image_of_it_and_a_line_that_says_so() -> None:
    found = rehearsal.images(config("", "", more=NAMED), KEY)
    assert list(found) == [REHEARSAL]
    header = image.header(found[REHEARSAL].view)
    assert header.entries == 1
    assert rehearsal.line(config("", "", more=NAMED)) == (
        "rehearsal.name: block-test.isp.example is blocked as the names of list list-0 are, and counted apart"
    )
