"""Every way an upload can end other than well: code, meaning, remedy. Imports nothing of ours.

A *rejection* is said before anything is spent: the upload itself is not what Image Builder
can import. A *failure* is said later: the upload was good, the import did not come to its end.
Nothing in isodrop is decided by the text of a message; these codes are what is compared.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Kind(StrEnum):
    """Which of the two unhappy answers a code leads to."""

    REJECTED = "rejected"
    FAILED = "failed"


class Code(StrEnum):
    """The codes, as they stand in events, logs and the command line's output."""

    NOT_AN_ISO = "not-an-iso"
    TRUNCATED = "truncated"
    UNREADABLE_MEDIA = "unreadable-media"
    NOT_WINDOWS = "not-windows"
    NOT_WINDOWS_11 = "not-windows-11"
    SERVER_MEDIA = "server-media"
    WRONG_ARCHITECTURE = "wrong-architecture"
    NO_SUCH_EDITION = "no-such-edition"
    EVALUATION_MEDIA = "evaluation-media"
    LTSC_MEDIA = "ltsc-media"
    UNSUPPORTED_RELEASE = "unsupported-release"
    SPLIT_IMAGE = "split-image"
    UNSUPPORTED_KEY = "unsupported-key"
    INVALID_OVERRIDE = "invalid-override"
    OBJECT_CHANGED = "object-changed"
    TOO_MANY_ATTEMPTS = "too-many-attempts"

    BUILD_FAILED = "build-failed"
    BUILD_CANCELLED = "build-cancelled"
    BUILD_GONE = "build-gone"
    BUILD_TIMED_OUT = "build-timed-out"
    IMPORT_REFUSED = "import-refused"
    ACCESS_DENIED = "access-denied"
    SERVICE_UNAVAILABLE = "service-unavailable"
    EXECUTION_ENDED = "execution-ended"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a code means and what a person can do about it.

    Attributes
    ----------
    kind : Kind
        Which answer the code leads to.
    meaning : str
        One sentence: what was found out.
    remedy : str
        One sentence: what to do about it.
    drop_again : bool
        Whether dropping the very same ISO again, nothing else changed, can end well.
    """

    kind: Kind
    meaning: str
    remedy: str
    drop_again: bool = False


def _rejected(meaning: str, remedy: str, *, drop_again: bool = False) -> Entry:
    return Entry(Kind.REJECTED, meaning, remedy, drop_again)


def _failed(meaning: str, remedy: str, *, drop_again: bool = False) -> Entry:
    return Entry(Kind.FAILED, meaning, remedy, drop_again)


_BUSINESS_ISO: Final = (
    "Upload the Windows 11 business editions ISO (x64) from the Microsoft 365 admin center"
)

TABLE: Final = MappingProxyType(
    {
        Code.NOT_AN_ISO: _rejected(
            "The object is not an ISO image: it has neither a UDF nor an ISO 9660 file system.",
            "Check that the file is the ISO itself, not an archive, a download page or a shortcut.",
        ),
        Code.TRUNCATED: _rejected(
            "The object ends before the file system on it does.",
            "Compare the file's SHA-256 with the one beside the download, and upload it again.",
        ),
        Code.UNREADABLE_MEDIA: _rejected(
            "The file system or the Windows image on the ISO is damaged, or laid out in a way"
            " that Windows media never are.",
            "Compare the file's SHA-256 with the one beside the download, and upload an"
            " untouched copy.",
        ),
        Code.NOT_WINDOWS: _rejected(
            "The ISO holds no Windows installation image (sources/install.wim or install.esd).",
            f"{_BUSINESS_ISO}.",
        ),
        Code.NOT_WINDOWS_11: _rejected(
            "The ISO holds a Windows older than Windows 11.",
            f"{_BUSINESS_ISO}; Image Builder imports no other Windows from an ISO.",
        ),
        Code.SERVER_MEDIA: _rejected(
            "The ISO holds Windows Server.",
            "Use one of Amazon's Windows Server AMIs, or VM Import/Export.",
        ),
        Code.WRONG_ARCHITECTURE: _rejected(
            "The wanted edition is on the ISO, but not for x64.",
            "Upload the x64 ISO of the same release.",
        ),
        Code.NO_SUCH_EDITION: _rejected(
            "The wanted edition is not on the ISO.",
            f"{_BUSINESS_ISO}: consumer ISOs carry no Enterprise.",
        ),
        Code.EVALUATION_MEDIA: _rejected(
            "The ISO holds an evaluation edition, which expires and which Image Builder refuses.",
            f"{_BUSINESS_ISO}; evaluation media cannot be converted.",
        ),
        Code.LTSC_MEDIA: _rejected(
            "The ISO holds a long-term servicing (LTSC) edition, which Image Builder refuses.",
            f"{_BUSINESS_ISO}, the general availability release.",
        ),
        Code.UNSUPPORTED_RELEASE: _rejected(
            "The Windows 11 release on the ISO is not one that Image Builder is known to import.",
            "Upload a supported release, or add its build to the stack's parameter"
            " SupportedBuilds once AWS accepts it.",
        ),
        Code.SPLIT_IMAGE: _rejected(
            "The Windows image on the ISO is split into several files (install.swm).",
            "Upload the ISO as Microsoft publishes it; a split image is made for FAT32 sticks.",
        ),
        Code.UNSUPPORTED_KEY: _rejected(
            "The object's key is one that ImportDiskImage does not take.",
            "Upload it under a key that ends in .iso, .ISO or .Iso.",
        ),
        Code.INVALID_OVERRIDE: _rejected(
            "An override in the object's metadata is not allowed, or not well formed.",
            "Correct or remove that metadata entry and upload again.",
        ),
        Code.OBJECT_CHANGED: _rejected(
            "The object was replaced or deleted before its import was over, so what was imported"
            " cannot be vouched for.",
            "Drop the ISO again, and leave it in place until its answer has come.",
            drop_again=True,
        ),
        Code.TOO_MANY_ATTEMPTS: _rejected(
            "This import has failed as often as the stack allows.",
            "Mend what the earlier answers name, then raise the stack's parameter MaxAttempts or"
            " upload with a new value of the override rebuild.",
        ),
        Code.BUILD_FAILED: _failed(
            "Image Builder's build of the image failed.",
            "Read the build's log, named in this answer; mend the cause and drop the ISO again.",
            drop_again=True,
        ),
        Code.BUILD_CANCELLED: _failed(
            "Image Builder's build of the image was cancelled.",
            "Drop the ISO again to start another build.",
            drop_again=True,
        ),
        Code.BUILD_GONE: _failed(
            "The image, its build or its AMI no longer exists.",
            "Drop the ISO again to start another build.",
            drop_again=True,
        ),
        Code.BUILD_TIMED_OUT: _failed(
            "The build did not end within the stack's tracking limit.",
            "Look at the build in Image Builder's console; cancel it there and drop the ISO again,"
            " or raise the stack's parameter TrackingHours.",
        ),
        Code.IMPORT_REFUSED: _failed(
            "Image Builder refused the import request.",
            "Correct what the message names (most often a stack parameter), update the stack and"
            " drop the ISO again.",
        ),
        Code.ACCESS_DENIED: _failed(
            "AWS denied isodrop an action that the import needs.",
            "Grant what the message names (a role, a key, a boundary) and drop the ISO again.",
        ),
        Code.SERVICE_UNAVAILABLE: _failed(
            "An AWS service stayed unavailable, throttled or out of quota for hours.",
            "Check the AWS Health Dashboard and the account's quotas, then drop the ISO again.",
            drop_again=True,
        ),
        Code.EXECUTION_ENDED: _failed(
            "The execution that followed the upload ended without an answer.",
            "See in the execution named in this answer why it ended, then ask again with isodrop"
            " retry, or drop the ISO again; if its import was begun, that import is taken up.",
            drop_again=True,
        ),
        Code.INTERNAL_ERROR: _failed(
            "isodrop itself failed.",
            "Read the execution named in this answer, and redrive it or drop the ISO again.",
            drop_again=True,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an upload is not imported, as a value.

    Attributes
    ----------
    code : Code
        One of the codes whose kind is ``rejected``.
    message : str
        What was found on this very upload and what is needed, in a sentence.
    remedy : str
        What to do; the table's remedy unless the case knows a better one.
    """

    code: Code
    message: str
    remedy: str

    @classmethod
    def of(cls, code: Code, message: str = "", remedy: str = "") -> "Rejection":
        """Make a rejection, taking from the table what the case does not say itself."""
        entry = TABLE[code]
        return cls(code, message or entry.meaning, remedy or entry.remedy)


class IsodropError(Exception):
    """The root of every exception that isodrop raises itself. Each carries a code."""

    code: Code = Code.INTERNAL_ERROR

    def __init__(self, message: str, *, code: Code | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class RejectedError(IsodropError):
    """The upload is to be rejected; :attr:`rejection` is what the answer will say."""

    def __init__(self, code: Code, message: str = "", remedy: str = "") -> None:
        self.rejection = Rejection.of(code, message, remedy)
        super().__init__(self.rejection.message, code=code)


class TransientError(IsodropError):
    """An AWS service is throttled or unavailable: asking again later is the way.

    The state machine retries it by this class's name, for hours.
    """

    code = Code.SERVICE_UNAVAILABLE


class QuotaError(TransientError):
    """A service quota is used up: waiting frees it. Retried by name, more patiently."""


class RefusedError(IsodropError):
    """An AWS service refused the request, and would refuse it again."""

    code = Code.IMPORT_REFUSED


class DeniedError(RefusedError):
    """AWS denied access: a permission is missing somewhere."""

    code = Code.ACCESS_DENIED
