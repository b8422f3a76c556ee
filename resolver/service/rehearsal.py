"""Makes the image of the rehearsal: one name of the operator's own, blocked as those of a list are.

Rules:
- It is in force before any list is, and whatever lists hold. A list that holds the name too answers and counts it.
- Its look-ups are counted in a slot of their own, which no figure of a list includes.
- The name stands in the configuration, so it is no secret; its image is made here and never written.
"""

from resolver.config import for_core
from resolver.config.config import Config
from resolver.core import codes, entries, image
from resolver.feed import synthetic

_ID = "rehearsal"
_FLAGS = codes.BLOCK_SELF.to_bytes(2, "little")


def images(config: Config, digest_key: bytes) -> dict[str, for_core.Image]:
    """Return the image of the rehearsal by the id that stands for it; none without a name."""
    name = config.rehearsal.name
    if not name:
        return {}
    wire = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b".")) + b"\0"
    made = entries.write(
        wire,
        _FLAGS,
        digest_key,
        list_id=_ID,
        serial=1,
        issued=0,
        expires=0,
        generation=1,
        selftest=synthetic.label(),
    )
    return {for_core.REHEARSAL: for_core.Image(image.view(made))}


def line(config: Config) -> str:
    """Return what check-config says of the rehearsal; "" without one."""
    one = config.rehearsed
    if one is None:
        return ""
    return f"rehearsal.name: {config.rehearsal.name} is blocked as the names of list {one.id} are, and counted apart"
