"""Exit codes of the commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of a command means.

    A command that a signal ends has another one: see :func:`isodrop_cli.signals.exit_code`.
    """

    OK = 0
    ERROR = 1
    """The command could not do what was requested; stderr says why."""
    USAGE = 2
    """The arguments are wrong; argparse uses the same number."""
    REJECTED = 3
    """The ISO was rejected, or would be."""
    FAILED = 4
    """The import failed, or a check found an error."""
