"""Finds whether a list sets aside only what persons have approved in the list before it.

Rules:
- Compared are the entries themselves, by digest and by what they cover: a line number, a count or a reason may be the
  same where the name is another one. An entry that covers more than before is another one too.
- An approval is for all lines set aside of a list: with one entry that nobody has approved, none stays approved.
"""

from typing import Final

from resolver.core import codes, image

_BLOCKS: Final = codes.BLOCK_SELF | codes.BLOCK_BELOW


def stays_approved(new: memoryview, before: memoryview) -> bool:
    """Return whether each entry that the image `new` sets aside is set aside in `before` and covers no more than there.

    Both images must be made with the same digest key.
    """
    for one in image.with_bit(new, codes.SET_ASIDE):
        was = image.find(before, *one)
        if not was & codes.SET_ASIDE or image.find(new, *one) & _BLOCKS & ~was:
            return False
    return True
