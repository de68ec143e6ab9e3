"""``python -m pyro_dgm`` is ``pyro-dgm``."""

import sys

from pyro_dgm.cli import main

if __name__ == "__main__":
    sys.exit(main())
