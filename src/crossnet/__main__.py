"""`crossnet`, and `python -m crossnet`."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line; Ctrl-C while it is still being loaded is no more than a word and an exit code too."""
    # Python's own handler would raise wherever it happens to stand, and print where.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    from crossnet.cli import main as command_line

    command_line()


def _interrupted(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"crossnet: interrupted\n")
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
