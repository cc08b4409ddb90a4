"""`python -m jaxfound` is the command `jaxfound`."""

import sys

from jaxfound.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
