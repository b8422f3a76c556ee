"""Makes the detail of a signed file's header that is malformed: which row, cell or word."""

from typing import Final

from resolver.feed.details import Code, Detail, Place, Word
from resolver.signed import header

_FIELDS: Final = {
    "serial": Word.SERIAL,
    "issued": Word.ISSUED,
    "not-after": Word.NOT_AFTER,
    "entries": Word.ENTRIES,
    "list": Word.LIST,
    "withdrawn": Word.WITHDRAWN,
}
_CODES: Final = {
    "comment": Code.HEADER_NO_COMMENT,
    "row": Code.HEADER_ROW,
    "sep": Code.HEADER_SEP,
    "commas": Code.HEADER_COMMAS,
    "tabs": Code.HEADER_TABS,
    "empty": Code.HEADER_EMPTY,
    "quote": Code.HEADER_QUOTE,
    "long": Code.HEADER_LONG,
    "ascii": Code.HEADER_ASCII,
}


def of_header(error: header.HeaderMalformed, at: Place) -> Detail:
    """Return the detail of an error of a header that stands in the file `at`."""
    if error.fault in _CODES:
        return Detail(code=_CODES[error.fault], at=at)
    if error.cell:
        code = Code.HEADER_NUMBER if error.fault == "number" else Code.HEADER_TIME
        return Detail(code=code, at=at, numbers=(1, error.cell))
    word = _FIELDS.get(error.field, Word.NONE)
    if not word:
        return Detail(code=Code.FORM, at=at)
    return Detail(code=Code.FIELD_MISSING if error.fault == "missing" else Code.FIELD, at=at, word=word)
