"""`python -m resolver`: the same as the command `blocklist-resolver`."""

import sys

from resolver.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
