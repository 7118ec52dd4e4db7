"""What went wrong, in a sentence with a way out; for whatever reaches the end of a command.

Knows no SDK unless one is loaded: only then can AWS have something against it.
"""

import errno
import sys
from typing import Final

from isodrop.errors import IsodropError
from isodrop.text import printable, single_line

_REPORT: Final = (
    "this should not happen: please report it with what the same command says with --debug, after"
    " you have taken out what is secret"
)
_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_CLI_PACKAGES: Final = frozenset(
    {"boto3", "botocore", "aws_lambda_powertools", "rich", "pydantic", "shtab"}
)


class ExplainedError(IsodropError):
    """The message says why, and what to do about it."""


class OutputError(ExplainedError):
    """Nothing can be written to standard output."""


def describe_failure(error: Exception) -> str:
    """Say what went wrong and what to do about it.

    Parameters
    ----------
    error : Exception
        As it reached the end of the command.
    """
    is_ours = isinstance(error, IsodropError)
    if isinstance(error, ExplainedError) or (is_ours and not _is_of_the_sdk(error.__cause__)):
        return str(error)
    if is_ours or _is_of_the_sdk(error):
        from isodrop_cli.aws_errors import STACK, explain  # noqa: PLC0415 - an SDK is there

        return explain(error, STACK)
    found = _describe_common(error)
    return (
        f"{type(error).__name__}: {single_line(str(error))}; {_REPORT}" if found is None else found
    )


def _describe_common(error: Exception) -> str | None:
    """Describe what is no fault of the command's; ``None`` for what nobody foresaw."""
    if isinstance(error, UnicodeEncodeError):
        return (
            f"{printable(str(error.object))} is not UTF-8, and all names that AWS knows are; name"
            " it otherwise, or a file's key with --key"
        )
    if isinstance(error, ModuleNotFoundError) and error.name in _CLI_PACKAGES:
        return f"{error.name} is missing; install the command with pip install 'isodrop[cli]'"
    if isinstance(error, MemoryError):
        return "there is not enough memory; end other programs, or use another machine"
    if isinstance(error, OSError):
        return _describe_os_error(error)
    return None


def _describe_os_error(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if error.filename is not None:
        return f"{error.filename}: {reason}; check the path, and who may read it"
    if error.errno in _FULL:
        return f"the output cannot be written: {reason}; make room, or write it elsewhere"
    return f"{reason}; check the disk, the network and what the output goes to"


def _is_of_the_sdk(error: BaseException | None) -> bool:
    """Whether the SDK raised it."""
    if error is None or "botocore" not in sys.modules:
        return False
    from isodrop_cli.aws_errors import is_sdk_error  # noqa: PLC0415 - an SDK is there

    return is_sdk_error(error)
