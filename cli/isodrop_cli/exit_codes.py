"""Exit codes of the commands."""

from typing import Final

OK: Final = 0
COULD_NOT: Final = 1
"""The command could not do what was requested; stderr says why."""
WRONG_USAGE: Final = 2  # as argparse has it
REJECTED: Final = 3
FAILED: Final = 4
SIGNALLED: Final = 128
"""What a shell adds to the number of the signal that ended a program: 130 for Ctrl-C."""
