"""How a command exits."""

from typing import Final

OK: Final = 0
COULD_NOT: Final = 1
"""What was asked for could not be done, or seen; stderr says why."""
WRONG_USAGE: Final = 2  # as argparse has it
REJECTED: Final = 3
FAILED: Final = 4
SIGNALLED: Final = 128
"""What a shell adds to the number of the signal that ended a program."""
