"""Describe, in one sentence with a remedy, any error that ends a command.

Does not import the SDK: unless it is loaded, no error can come from AWS.
"""

import errno
import sys
from typing import Final

from isodrop.errors import IsodropError
from isodrop.text import printable, single_line

_REPORT: Final = (
    "this is a bug: please report it with the output of the same command with --debug, after"
    " removing anything secret"
)
_DISK_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_CLI_PACKAGES: Final = frozenset(
    {"boto3", "botocore", "aws_lambda_powertools", "rich", "pydantic", "shtab"}
)


class ExplainedError(IsodropError):
    """An error whose message says why, and what to do about it."""


class OutputError(ExplainedError):
    """Standard output cannot be written to."""


def describe_error(error: Exception) -> str:
    """Describe what went wrong and what to do about it.

    Parameters
    ----------
    error : Exception
        The error that ended the command.
    """
    if isinstance(error, ExplainedError):
        return str(error)
    if "botocore" in sys.modules:
        from isodrop_cli.aws_errors import STACK_HINTS, explain, get_sdk_error  # noqa: PLC0415 - loaded

        if get_sdk_error(error) is not None:
            return explain(error, STACK_HINTS)
    if isinstance(error, IsodropError):
        return str(error)
    description = _describe_common(error)
    return (
        f"{type(error).__name__}: {single_line(str(error))}; {_REPORT}"
        if description is None
        else description
    )


def _describe_common(error: Exception) -> str | None:
    """Describe an error of the environment; ``None`` for an unexpected one."""
    if isinstance(error, UnicodeEncodeError):
        return (
            f"{printable(str(error.object))} is not UTF-8, as all names in AWS must be; rename it,"
            " or set the file's key with --key"
        )
    if isinstance(error, ModuleNotFoundError) and error.name in _CLI_PACKAGES:
        return f"{error.name} is missing; install the command with pip install 'isodrop[cli]'"
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or use another machine"
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return None


def _describe_os_error(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if error.filename is not None:
        return f"{error.filename}: {reason}; check the path and its permissions"
    if error.errno in _DISK_FULL:
        return f"the output cannot be written: {reason}; free some space, or write it elsewhere"
    return f"{reason}; check the disk, the network and the output's destination"
