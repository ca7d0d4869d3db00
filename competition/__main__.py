"""`python -m competition <verb>`."""

import sys

from competition.cli import main

if __name__ == "__main__":
    sys.exit(main())
