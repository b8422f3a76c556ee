"""Starts blocklist-resolver's policy inside Unbound: /etc/unbound/blocklist.py, which `python-script:` names.

What is yours is in the first lines. README.md beside this file says why each stands here.
"""

import sys
from pathlib import Path

# Where blocklist-resolver is installed, for the release of Python that Unbound is built with (Debian 12: 3.11).
PACKAGES = "/usr/lib/blocklist-resolver/lib/python3.11/site-packages"
# The service's [plugin] folder.
FOLDER = Path("/run/blocklist-resolver-plugin")
# The digest key of this host or fleet, readable by Unbound's account alone.
KEY = Path("/etc/unbound/blocklist.key")
# More answers than Unbound's message cache holds (msg-cache-size divided by about 500 octets); 200 octets each.
REMEMBERED = 131_072

# A folder of Unbound's account. At a reload Unbound starts Python again, and compiled modules need new files.
COPIES = Path("/var/lib/unbound")

sys.path.insert(0, PACKAGES)

import unboundmodule  # noqa: E402 - Unbound's own

from resolver.plugin.core_again import loadable  # noqa: E402 - after the path is set

with loadable(COPIES):
    from resolver.plugin.unbound import Module

_module = Module(unboundmodule, FOLDER, KEY, remembered=REMEMBERED)
init_standard = _module.init_standard
deinit = _module.deinit
inform_super = _module.inform_super
operate = _module.operate
