"""`python -m competition <verb>`."""

import io
import os
import sys
import time

from competition import interrupt

if __name__ == "__main__":
    interrupt.remember()  # before anything else is imported
    began = time.monotonic()
    from competition.cli import main
    from competition.errors import Stopped

    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal has no letters for is spelt out
        sys.stdout.reconfigure(errors="backslashreplace")
    code = main(began=began)
    interrupt.forget()
    if code == Stopped.exit_code:  # an interrupt in the midst of an import makes Python itself end by the signal
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
