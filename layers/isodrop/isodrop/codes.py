"""The codes of rejections and failures, with their meanings and remedies. Has no dependencies.

A *rejection* means that the upload is not imported, because of the ISO, the object or the rules of
the stack; no build is started. A *failure* means that the upload was not rejected, but its import,
or the distribution of its image, did not succeed. Programs compare these codes; nothing in isodrop
depends on the text of a message.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class AnswerKind(StrEnum):
    """Whether a code leads to a rejection or a failure."""

    REJECTED = "rejected"
    FAILED = "failed"


class Code(StrEnum):
    """The codes, as used in events, logs and the output of the command line."""

    NOT_AN_ISO = "not-an-iso"
    TRUNCATED = "truncated"
    UNREADABLE_ISO = "unreadable-iso"
    NOT_WINDOWS = "not-windows"
    NOT_WINDOWS_11 = "not-windows-11"
    SERVER_ISO = "server-iso"
    WRONG_ARCHITECTURE = "wrong-architecture"
    NO_SUCH_EDITION = "no-such-edition"
    EVALUATION_ISO = "evaluation-iso"
    LTSC_ISO = "ltsc-iso"
    UNSUPPORTED_RELEASE = "unsupported-release"
    SPLIT_IMAGE = "split-image"
    ESD_ISO = "esd-iso"
    INVALID_OVERRIDE = "invalid-override"
    OBJECT_GONE = "object-gone"
    ARCHIVED_OBJECT = "archived-object"
    UNREADABLE_OBJECT = "unreadable-object"
    SCAN_NOT_PASSED = "scan-not-passed"
    TOO_MANY_ATTEMPTS = "too-many-attempts"
    TOO_SMALL = "too-small"
    TOO_LARGE = "too-large"
    DAILY_LIMIT_REACHED = "daily-limit-reached"
    UNKNOWN_ISO = "unknown-iso"

    BUILD_FAILED = "build-failed"
    BUILD_CANCELLED = "build-cancelled"
    BUILD_GONE = "build-gone"
    BUILD_TIMED_OUT = "build-timed-out"
    DISTRIBUTION_FAILED = "distribution-failed"
    STAGING_LOST = "staging-lost"
    CHECKSUM_MISSING = "checksum-missing"
    IMPORT_REFUSED = "import-refused"
    REQUEST_REFUSED = "request-refused"
    ACCESS_DENIED = "access-denied"
    SERVICE_UNAVAILABLE = "service-unavailable"
    EXECUTION_ENDED = "execution-ended"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True)
class CodeInfo:
    """What a code means and what a person can do about it.

    Attributes
    ----------
    kind : AnswerKind
        Which answer the code leads to.
    meaning : str
        One sentence: what was found.
    remedy : str
        What to do about it.
    why : str
        The causes, and the reason for this answer; for the page of all codes.
    retryable : bool
        Whether uploading the same ISO again, with nothing else changed, can succeed.
    """

    kind: AnswerKind
    meaning: str
    remedy: str
    why: str
    retryable: bool = False


def _rejected(meaning: str, remedy: str, *, why: str, retryable: bool = False) -> CodeInfo:
    return CodeInfo(AnswerKind.REJECTED, meaning, remedy, why, retryable)


def _failed(meaning: str, remedy: str, *, why: str, retryable: bool = False) -> CodeInfo:
    return CodeInfo(AnswerKind.FAILED, meaning, remedy, why, retryable)


_BUSINESS_ISO: Final = (
    "Upload the Windows 11 business editions ISO (x64) from the Microsoft 365 admin center"
)

_RETRY: Final = "run isodrop retry, or upload the ISO again"

CODES: Final = MappingProxyType(
    {
        Code.NOT_AN_ISO: _rejected(
            "The object is not an ISO: it has neither a UDF nor an ISO 9660 file system.",
            "Check that the file is the ISO itself, not an archive, a download page or a shortcut.",
            why="Windows installation ISOs have a UDF file system. Without the descriptors of "
            "UDF or ISO 9660 the object is something else whose name ends in .iso.",
        ),
        Code.TRUNCATED: _rejected(
            "The object ends before the file system on it does.",
            "Compare the file's SHA-256 with the one published with the download, and upload it"
            " again.",
            why="A download or an upload was interrupted: the ISO declares its length, and the "
            "object is shorter. Image Builder would fail in the middle of a paid build.",
        ),
        Code.UNREADABLE_ISO: _rejected(
            "The file system or the Windows image file on the ISO is damaged, or has a layout that"
            " Windows ISOs never have.",
            "Compare the file's SHA-256 with the one published with the download, and upload an"
            " unmodified copy.",
            why="Lengths, offsets or checksums on the ISO contradict each other, as they do "
            "after a damaged download or in an ISO that was rebuilt. Or the Windows image file was "
            "captured or exported without its EDITIONID or another part of its description; "
            "Windows Setup fails on such ISOs, too. isodrop does not guess.",
        ),
        Code.NOT_WINDOWS: _rejected(
            "The ISO contains no Windows client that can be installed.",
            f"{_BUSINESS_ISO}.",
            why="Either there is no sources/install.wim or install.esd, from which Windows Setup "
            "installs, as on ISOs of drivers, languages or optional features; or the file contains "
            "only Windows PE, or an image whose INSTALLATIONTYPE is not Client.",
        ),
        Code.NOT_WINDOWS_11: _rejected(
            "The ISO contains a version of Windows older than Windows 11.",
            f"{_BUSINESS_ISO}; Image Builder imports no other version of Windows from an ISO.",
            why="ImportDiskImage accepts one operating system, Microsoft Windows 11.",
        ),
        Code.SERVER_ISO: _rejected(
            "The ISO contains Windows Server.",
            "Use one of Amazon's Windows Server AMIs, or VM Import/Export.",
            why="The image's INSTALLATIONTYPE is Server. The build number is not used, because "
            "some releases of Windows Server and Windows 11 share it.",
        ),
        Code.WRONG_ARCHITECTURE: _rejected(
            "The requested edition is on the ISO, but not for x64.",
            "Upload the x64 ISO of the same release.",
            why="Image Builder imports x64 ISOs only, and the image on this ISO is for "
            "another processor architecture, such as Arm64.",
        ),
        Code.NO_SUCH_EDITION: _rejected(
            "The requested edition is not on the ISO.",
            f"{_BUSINESS_ISO}: consumer ISOs do not contain Enterprise.",
            why="The EDITIONID of each image on the ISO must equal the requested one: "
            "EnterpriseN and EnterpriseS are not Enterprise. Image Builder documents "
            "Enterprise only.",
        ),
        Code.EVALUATION_ISO: _rejected(
            "The ISO contains an evaluation edition, which expires and which Image Builder"
            " refuses.",
            f"{_BUSINESS_ISO}; evaluation ISOs cannot be converted.",
            why="Evaluation editions have an EDITIONID of their own, such as EnterpriseEval, "
            "and AWS documents that they are not supported.",
        ),
        Code.LTSC_ISO: _rejected(
            "The ISO contains a long-term servicing (LTSC) edition, which Image Builder refuses.",
            f"{_BUSINESS_ISO}. It is the general availability release.",
            why="LTSC editions have an EDITIONID of their own, such as EnterpriseS, and share "
            "build numbers with the general release. AWS documents that they are not "
            "supported.",
        ),
        Code.UNSUPPORTED_RELEASE: _rejected(
            "Image Builder is not known to import the Windows 11 release on the ISO.",
            "Upload a supported release. Once AWS supports this one, add its Windows build to the"
            " stack's parameter SupportedWindowsBuilds and run isodrop retry.",
            why="The Windows build on the ISO is not among the stack's SupportedWindowsBuilds, "
            "which by default are those that AWS documents. Image Builder would refuse the ISO "
            "only after a build has started, which costs money.",
        ),
        Code.SPLIT_IMAGE: _rejected(
            "The Windows image file on the ISO is split into several files (install.swm).",
            "Upload Microsoft's original ISO; split images are for FAT32 drives.",
            why="The file was split for a file system with a maximum file size of 4 GB. Image "
            "Builder needs the single file that Microsoft's own ISOs have.",
        ),
        Code.ESD_ISO: _rejected(
            "The Windows image file on the ISO is an ESD (install.esd), which AWS documents as"
            " unsupported.",
            f"{_BUSINESS_ISO}: it has an install.wim. To import this one nevertheless, set the"
            " stack's parameter AllowEsd to true and run isodrop retry.",
            why="The Media Creation Tool writes ISOs with an ESD, and AWS documents that they are "
            "not supported; the build would fail after it has started. Nothing is documented "
            "about ESDs from other sources. An install.wim in ESD format counts as an ESD.",
        ),
        Code.INVALID_OVERRIDE: _rejected(
            "An override in the object's metadata is not allowed or not valid.",
            "Correct it with isodrop retry --set, where an empty value removes it, or upload the"
            " ISO again with other metadata.",
            why="Without the override the image would not be the requested one, so the whole "
            "upload is rejected.",
        ),
        Code.OBJECT_GONE: _rejected(
            "The object was deleted or replaced before its private copy was made.",
            "Upload the ISO again, and leave it in place until the import has started.",
            why="S3 copies the uploaded version of the object, and the copy is imported. In a "
            "versioned bucket this happens only if the version was permanently deleted; in other "
            "buckets, if the object was replaced or deleted.",
            retryable=True,
        ),
        Code.ARCHIVED_OBJECT: _rejected(
            "The object is in an S3 archive storage class and cannot be read.",
            "Restore it, or upload it again to S3 Standard; then run isodrop retry.",
            why="Objects in Glacier Flexible Retrieval and Deep Archive, and in the archive "
            "tiers of Intelligent-Tiering, take minutes to hours to become readable.",
        ),
        Code.UNREADABLE_OBJECT: _rejected(
            "isodrop has no permission to read the object.",
            "The message gives S3's reason. If a malware scan must finish first (the bucket's"
            " policy denies reading until GuardDuty has tagged the object), set the stack's"
            " parameter MalwareScan to GuardDuty. Otherwise allow ImportIso's role to read the"
            " object and to use its KMS key (parameter KmsKeyArn), and run isodrop retry. An object"
            " with SSE-C must be uploaded again without it.",
            why="S3 returned AccessDenied for the first read; or the object's KMS key is "
            "disabled, deleted or not usable by isodrop; or the object is encrypted with a key "
            "that only its uploader has (SSE-C). The message quotes S3.",
            retryable=True,
        ),
        Code.SCAN_NOT_PASSED: _rejected(
            "The malware scan of the object found a threat or did not complete.",
            "Read the result in GuardDuty. UNSUPPORTED, ACCESS_DENIED and FAILED mean that it was"
            " not scanned: fix the cause, and upload the ISO again.",
            why="With the stack's parameter MalwareScan, an ISO is inspected only after GuardDuty "
            "reported NO_THREATS_FOUND. GuardDuty does not scan objects that are larger than its "
            "quota.",
        ),
        Code.TOO_MANY_ATTEMPTS: _rejected(
            "This import has failed as often as the stack allows.",
            "Fix the cause that the earlier answers give. Then raise the stack's parameter"
            " MaxConsecutiveFailures and run isodrop retry, or run it with a new value of"
            " --set rebuild=VALUE.",
            why="Each attempt is a paid build. After MaxConsecutiveFailures failures in a row, the "
            "next attempt would most likely fail, too.",
        ),
        Code.TOO_SMALL: _rejected(
            "The ISO is smaller than the stack's minimum.",
            f"{_BUSINESS_ISO}, which is 5 GB or larger. If the ISO is meant to be this small, lower"
            " the stack's parameter MinIsoMegabytes and run isodrop retry.",
            why="Microsoft's Windows ISOs are several gigabytes in size. A much smaller one may "
            "declare that it is Windows, but contains nothing that can be installed.",
        ),
        Code.TOO_LARGE: _rejected(
            "The ISO is larger than the stack's maximum.",
            f"{_BUSINESS_ISO}; or raise the stack's parameter MaxIsoGigabytes and run isodrop"
            " retry.",
            why="Copying, storing and building cost by the gigabyte, so the stack's "
            "MaxIsoGigabytes limits the size of an upload.",
        ),
        Code.DAILY_LIMIT_REACHED: _rejected(
            "The stack has already started its maximum number of builds today.",
            "Run isodrop retry tomorrow (UTC), or raise the stack's parameter MaxBuildsPerDay and"
            " run it now.",
            why="Each import is a paid build, and anybody who may upload can start one. The "
            "stack's MaxBuildsPerDay limits them; uploads that share a build count once.",
            retryable=True,
        ),
        Code.UNKNOWN_ISO: _rejected(
            "The ISO is not on the stack's allow-list.",
            "Compare the SHA-256 in the message with the one published for the download, and upload"
            " an unmodified copy; or let the stack's operator add it to the list and run isodrop"
            " retry.",
            why="With AllowListMode=enforce the stack imports only ISOs whose SHA-256 is on the "
            "list that AllowListUri names. The hash covers all bytes, so a damaged or "
            "modified copy is not on the list.",
        ),
        Code.BUILD_FAILED: _failed(
            "Image Builder's build of the image failed.",
            f"Read the build's log, named in this answer; fix the cause and {_RETRY}.",
            why="A step of the build's workflow failed. Windows Setup may have refused the "
            "ISO, the build instance may not have reached the AWS services that it "
            "needs, or a role may lack a permission.",
            retryable=True,
        ),
        Code.BUILD_CANCELLED: _failed(
            "The build was cancelled, or the run before it had one.",
            f"To start another build, {_RETRY}.",
            why="Somebody cancelled it: with isodrop cancel, in Image Builder's console or with "
            "CancelImageCreation. Nothing cancels a build automatically.",
            retryable=True,
        ),
        Code.BUILD_GONE: _failed(
            "The image, its build or its AMI no longer exists.",
            f"To start another build, {_RETRY}.",
            why="Somebody deleted or disabled the image, or deregistered its AMI, before the "
            "answer was published.",
            retryable=True,
        ),
        Code.BUILD_TIMED_OUT: _failed(
            "The build did not end within the stack's tracking limit.",
            "Check the build in Image Builder's console; cancel it there, or raise the stack's"
            " parameter TrackingTimeoutHours; then run isodrop retry.",
            why="The build was still running when the stack's TrackingTimeoutHours had passed. "
            "Image Builder allows twelve hours for its longest step.",
        ),
        Code.DISTRIBUTION_FAILED: _failed(
            "The image was built, but not distributed to all Regions and accounts.",
            "Use the AMI that this answer names, if its Region is sufficient; fix what the message"
            " names, then run isodrop retry: only the distribution is repeated.",
            why="The stack has a DistributionConfigurationArn, and Image Builder's distribution "
            "failed, was cancelled, or did not end within TrackingTimeoutHours. Most often a "
            "target account lacks the role EC2ImageBuilderDistributionCrossAccountRole, may not "
            "use the key that encrypts the image, or has reached its quota of AMIs.",
            retryable=True,
        ),
        Code.STAGING_LOST: _failed(
            "The private copy and the upload were deleted before the import.",
            "Upload the ISO again.",
            why="Somebody emptied the staging bucket, or the import waited for longer than the "
            "eight days for which a copy is kept; and the uploaded version no longer existed "
            "when the copy was to be made again. Nothing was spent.",
            retryable=True,
        ),
        Code.CHECKSUM_MISSING: _failed(
            "S3 did not return the checksums by which isodrop identifies an ISO.",
            f"Check which S3 endpoint the stack uses; then {_RETRY}.",
            why="S3 computes the SHA-256 of each part that it copies. isodrop identifies ISOs by "
            "their bytes only, so nothing replaces a missing checksum.",
            retryable=True,
        ),
        Code.IMPORT_REFUSED: _failed(
            "Image Builder refused the import request.",
            "Correct what the message names (most often a stack parameter), update the stack and"
            f" {_RETRY}.",
            why="ImportDiskImage returned an error that a repeated request would return, too. Most "
            "often a stack parameter names something that was deleted or cannot be used.",
        ),
        Code.REQUEST_REFUSED: _failed(
            "An AWS service other than Image Builder refused a request that isodrop made.",
            "Correct what the message names (a bucket, a key, a table, a stack parameter) and"
            f" {_RETRY}.",
            why="A service such as S3, KMS or DynamoDB returned an error that a repeated request "
            "would return, too. The message begins with the operation and the service's code.",
        ),
        Code.ACCESS_DENIED: _failed(
            "AWS denied isodrop an action that the import needs.",
            f"Grant what the message names (a role, a key, a boundary) and {_RETRY}.",
            why="A role of the stack, a permissions boundary, a service control policy or a "
            "key policy does not allow it.",
        ),
        Code.SERVICE_UNAVAILABLE: _failed(
            "For hours, an AWS service was unavailable or throttled requests, or a quota or the"
            " stack's MaxBuildsAtOnce was used up.",
            f"Check the AWS Health Dashboard and the account's quotas, then {_RETRY}.",
            why="Throttling, outages and used-up quotas are retried with growing delays; this "
            "one lasted longer than all retries.",
            retryable=True,
        ),
        Code.EXECUTION_ENDED: _failed(
            "The execution that tracked the upload ended without an answer.",
            f"Check why the execution named in this answer ended, then {_RETRY};"
            " an import that has already started is resumed.",
            why="The execution was stopped or timed out, or all its tries to publish an answer "
            "failed. The sweep found it later, and there was no build to wait for.",
            retryable=True,
        ),
        Code.INTERNAL_ERROR: _failed(
            "isodrop itself failed.",
            f"Read the error of the execution named in this answer, fix the cause and {_RETRY}.",
            why="A function or the state machine ended with an error that has no code of its "
            "own: a defect, or a stack that was modified or damaged while it ran.",
            retryable=True,
        ),
    }
)


def docs_path(code: Code) -> str:
    """Return the path and anchor of a code's documentation, as published in events.

    It is a path and not a URL, because a stack does not know where its repository is published. To
    show it to people, prepend the URL of the repository.
    """
    return f"docs/codes.md#{code}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why an upload is not imported.

    Attributes
    ----------
    code : Code
        One of the codes whose kind is ``rejected``.
    message : str
        What was found in this upload and what is required, in one sentence.
    remedy : str
        What to do about it: the code's remedy, unless there is a more specific one.
    """

    code: Code
    message: str
    remedy: str

    @classmethod
    def of(cls, code: Code, message: str = "", remedy: str = "") -> "Rejection":
        """Make a rejection, with the message and remedy of the code as defaults."""
        info = CODES[code]
        return cls(code, message or info.meaning, remedy or info.remedy)
