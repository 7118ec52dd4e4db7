"""Every way an upload can end other than well: code, meaning, remedy. Imports nothing of ours.

A *rejection* is said before anything is spent: the upload itself is not what Image Builder
can import. A *failure* is said later: the upload was good, the import did not come to its end.
Nothing in isodrop is decided by the text of a message; these codes are what is compared.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class OutcomeKind(StrEnum):
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
    ESD_MEDIA = "esd-media"
    INVALID_OVERRIDE = "invalid-override"
    OBJECT_GONE = "object-gone"
    ARCHIVED_OBJECT = "archived-object"
    UNREADABLE_OBJECT = "unreadable-object"
    SCAN_NOT_PASSED = "scan-not-passed"
    TOO_MANY_ATTEMPTS = "too-many-attempts"
    TOO_SMALL = "too-small"
    TOO_LARGE = "too-large"
    BUDGET_USED_UP = "budget-used-up"
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
    kind : Kind
        Which answer the code leads to.
    meaning : str
        One sentence: what was found out.
    remedy : str
        One sentence: what to do about it.
    why : str
        How it comes to that, and why isodrop answers so; for the page of all codes.
    retryable : bool
        Whether dropping the very same ISO again, nothing else changed, can end well.
    """

    kind: OutcomeKind
    meaning: str
    remedy: str
    why: str
    retryable: bool = False


def _rejected(meaning: str, remedy: str, *, why: str, retryable: bool = False) -> CodeInfo:
    return CodeInfo(OutcomeKind.REJECTED, meaning, remedy, why, retryable)


def _failed(meaning: str, remedy: str, *, why: str, retryable: bool = False) -> CodeInfo:
    return CodeInfo(OutcomeKind.FAILED, meaning, remedy, why, retryable)


_BUSINESS_ISO: Final = (
    "Upload the Windows 11 business editions ISO (x64) from the Microsoft 365 admin center"
)

_ASK_AGAIN: Final = "ask again with isodrop retry, or drop the ISO again"

CODES: Final = MappingProxyType(
    {
        Code.NOT_AN_ISO: _rejected(
            "The object is not an ISO image: it has neither a UDF nor an ISO 9660 file system.",
            "Check that the file is the ISO itself, not an archive, a download page or a shortcut.",
            why="Windows installation media carry a UDF file system. Where the descriptors of "
            "neither system are found, the object is something else whose name ends in "
            ".iso, whatever its size.",
        ),
        Code.TRUNCATED: _rejected(
            "The object ends before the file system on it does.",
            "Compare the file's SHA-256 with the one beside the download, and upload it again.",
            why="A download or an upload was broken off: the ISO itself says how long it is, "
            "and the object is shorter. Image Builder would find that out in the middle "
            "of a paid build.",
        ),
        Code.UNREADABLE_MEDIA: _rejected(
            "The file system or the Windows image on the ISO is damaged, or laid out in a way"
            " that Windows media never are.",
            "Compare the file's SHA-256 with the one beside the download, and upload an"
            " untouched copy.",
            why="Lengths, places or checksums on the disc contradict each other, as they do "
            "after a damaged download or in an ISO that was put together anew. Or the Windows "
            "image was captured or exported so that it lost EDITIONID or another part of its "
            "description; Windows Setup fails on such media, too. isodrop does not guess.",
        ),
        Code.NOT_WINDOWS: _rejected(
            "The ISO holds no Windows installation image (sources/install.wim or install.esd).",
            f"{_BUSINESS_ISO}.",
            why="Windows Setup installs from that file, and without it there is nothing to "
            "import. Discs of drivers, languages or optional features look like this.",
        ),
        Code.NOT_WINDOWS_11: _rejected(
            "The ISO holds a Windows older than Windows 11.",
            f"{_BUSINESS_ISO}; Image Builder imports no other Windows from an ISO.",
            why="ImportDiskImage takes one operating system, Microsoft Windows 11.",
        ),
        Code.SERVER_MEDIA: _rejected(
            "The ISO holds Windows Server.",
            "Use one of Amazon's Windows Server AMIs, or VM Import/Export.",
            why="The image's INSTALLATIONTYPE is Server. That is what is looked at, for some "
            "releases of Windows Server and Windows 11 share a build number.",
        ),
        Code.WRONG_ARCHITECTURE: _rejected(
            "The wanted edition is on the ISO, but not for x64.",
            "Upload the x64 ISO of the same release.",
            why="Image Builder imports x64 media only, and the image on this ISO is for "
            "another processor, such as Arm64.",
        ),
        Code.NO_SUCH_EDITION: _rejected(
            "The wanted edition is not on the ISO.",
            f"{_BUSINESS_ISO}: consumer ISOs carry no Enterprise.",
            why="The EDITIONID of each image on the ISO is compared with the wanted one, "
            "letter by letter: EnterpriseN or EnterpriseS are not Enterprise. Image "
            "Builder documents Enterprise and no other.",
        ),
        Code.EVALUATION_MEDIA: _rejected(
            "The ISO holds an evaluation edition, which expires and which Image Builder refuses.",
            f"{_BUSINESS_ISO}; evaluation media cannot be converted.",
            why="Evaluation editions have an EDITIONID of their own, such as EnterpriseEval, "
            "and AWS documents that they are not supported.",
        ),
        Code.LTSC_MEDIA: _rejected(
            "The ISO holds a long-term servicing (LTSC) edition, which Image Builder refuses.",
            f"{_BUSINESS_ISO}, the general availability release.",
            why="LTSC editions have an EDITIONID of their own, such as EnterpriseS, and share "
            "build numbers with the general release. AWS documents that they are not "
            "supported.",
        ),
        Code.UNSUPPORTED_RELEASE: _rejected(
            "The Windows 11 release on the ISO is not one that Image Builder is known to import.",
            "Upload a supported release; or, once AWS accepts this one, add its build to the"
            " stack's parameter SupportedBuilds and ask again with isodrop retry.",
            why="The build on the media is not among the stack's SupportedBuilds, which by "
            "default are those that AWS documents. Image Builder would refuse it after "
            "the build was paid for.",
        ),
        Code.SPLIT_IMAGE: _rejected(
            "The Windows image on the ISO is split into several files (install.swm).",
            "Upload the ISO as Microsoft publishes it; a split image is made for FAT32 sticks.",
            why="Somebody split install.wim for a file system whose files end at 4 GB. Image "
            "Builder looks for the one file that Microsoft's own ISOs have.",
        ),
        Code.ESD_MEDIA: _rejected(
            "The Windows image on the ISO is an ESD (install.esd), of which AWS documents that the"
            " import fails.",
            f"{_BUSINESS_ISO}: it holds an install.wim. To try this one all the same, set the"
            " stack's parameter AllowEsd to true and ask again with isodrop retry.",
            why="The Media Creation Tool makes ISOs with an ESD, and AWS documents that they are "
            "not supported; Image Builder finds that out after the build has started. Of an ESD "
            "from another source nothing is documented. An install.wim that is an ESD inside "
            "counts as one.",
        ),
        Code.INVALID_OVERRIDE: _rejected(
            "An override in the object's metadata is not allowed, or not well formed.",
            "Correct that entry with isodrop retry --set, where an empty value takes it away, or"
            " upload the ISO again with other metadata.",
            why="An entry that was misspelt and silently ignored would make another image "
            "than the one asked for, so an upload with one is not imported at all.",
        ),
        Code.OBJECT_GONE: _rejected(
            "The object was deleted or replaced before its private copy was made.",
            "Upload the ISO again, and leave it in place until the import has started.",
            why="What is imported is a copy that S3 makes of that very version of the object. "
            "In a bucket that keeps versions only a version that was deleted for good "
            "comes to this; without versions a replaced or deleted object does.",
            retryable=True,
        ),
        Code.ARCHIVED_OBJECT: _rejected(
            "The object is in an archive class of S3's, from which it cannot be read.",
            "Restore it or upload it again to S3 Standard; then ask again with isodrop retry.",
            why="Objects in Glacier Flexible Retrieval and Deep Archive, and in the archive "
            "tiers of Intelligent-Tiering, take minutes to hours to become readable.",
        ),
        Code.UNREADABLE_OBJECT: _rejected(
            "The object is there, but isodrop may not read it.",
            "See in the message what S3 says. If a malware scan must end first (the bucket's policy"
            " denies reading until GuardDuty has tagged the object), set the stack's parameter"
            " MalwareScan to GuardDuty; else let ImportIso's role read the object and use its key"
            " (parameter KmsKeyArn), or upload it without a key of the customer's own (SSE-C);"
            f" then {_ASK_AGAIN}.",
            why="S3 answered the first read with AccessDenied; or the object's KMS key is "
            "disabled, gone or not for isodrop to use; or the object is encrypted under a key that "
            "only its uploader has (SSE-C). The message has S3's own words.",
            retryable=True,
        ),
        Code.SCAN_NOT_PASSED: _rejected(
            "The malware scan of the object did not end well.",
            "See in GuardDuty what it found. UNSUPPORTED, ACCESS_DENIED and FAILED mean that it was"
            " not scanned: mend that, and upload the ISO again.",
            why="With the stack's parameter MalwareScan, GuardDuty's result is waited for, and "
            "only NO_THREATS_FOUND lets an ISO be looked at. GuardDuty does not scan objects that "
            "are larger than its quota.",
        ),
        Code.TOO_MANY_ATTEMPTS: _rejected(
            "This import has failed as often as the stack allows.",
            "Mend what the earlier answers name; then raise the stack's parameter"
            " MaxConsecutiveFailures and ask again with isodrop retry, or at once with a new value:"
            " --set rebuild=VALUE.",
            why="Each attempt is a paid build. When MaxConsecutiveFailures in a row were lost, the "
            "next one most likely would be, too.",
        ),
        Code.TOO_SMALL: _rejected(
            "The ISO is smaller than this stack imports.",
            f"{_BUSINESS_ISO}, which has 5 GB or more; or, if it is meant to be this small, lower"
            " the stack's parameter MinIsoMegabytes and ask again with isodrop retry.",
            why="A Windows ISO by Microsoft has several gigabytes. One that is much smaller may "
            "say that it is Windows, and holds none that could be installed.",
        ),
        Code.TOO_LARGE: _rejected(
            "The ISO is larger than this stack imports.",
            f"{_BUSINESS_ISO}; or raise the stack's parameter MaxIsoGigabytes and ask again with"
            " isodrop retry.",
            why="Copying, keeping and building cost by the gigabyte. The stack's MaxIsoGigabytes "
            "says how many an upload may have.",
        ),
        Code.BUDGET_USED_UP: _rejected(
            "As many builds were begun today as the stack allows in a day.",
            "Ask again with isodrop retry tomorrow (the day is UTC's), or raise the stack's"
            " parameter MaxBuildsPerDay and ask again at once.",
            why="Each import is a paid build, and whoever may upload may start some. The stack's "
            "MaxBuildsPerDay says how many; uploads that share a build count once.",
            retryable=True,
        ),
        Code.UNKNOWN_ISO: _rejected(
            "The ISO is not on the stack's allow-list.",
            "Compare the SHA-256 in the message with the one beside the download, and upload an"
            " untouched copy; or let the stack's operator add it to the list and ask again with"
            " isodrop retry.",
            why="The stack's AllowListMode is enforce: it imports known ISOs only, which are those "
            "whose SHA-256 is on the list that AllowListUri names. The hash is that of all bytes, "
            "so a damaged or changed copy is not on it, whatever it says of itself.",
        ),
        Code.BUILD_FAILED: _failed(
            "Image Builder's build of the image failed.",
            f"Read the build's log, named in this answer; mend the cause and {_ASK_AGAIN}.",
            why="A step of the build's workflow failed. Windows Setup may have refused the "
            "media, the build instance may not have reached the AWS services that it "
            "needs, or a role may lack a permission.",
            retryable=True,
        ),
        Code.BUILD_CANCELLED: _failed(
            "Image Builder's build of the image was cancelled.",
            f"To start another build, {_ASK_AGAIN}.",
            why="Somebody cancelled it: with isodrop cancel, in Image Builder's console or by "
            "CancelImageCreation. Nothing cancels a build by itself.",
            retryable=True,
        ),
        Code.BUILD_GONE: _failed(
            "The image, its build or its AMI no longer exists.",
            f"To start another build, {_ASK_AGAIN}.",
            why="Somebody deleted or disabled the image, or deregistered its AMI, before the "
            "answer was given.",
            retryable=True,
        ),
        Code.BUILD_TIMED_OUT: _failed(
            "The build did not end within the stack's tracking limit.",
            "Look at the build in Image Builder's console; cancel it there, or raise the stack's"
            " parameter TrackingTimeoutHours; then ask again with isodrop retry.",
            why="The build was still running when the stack's TrackingTimeoutHours were over. "
            "Image Builder gives its longest step twelve hours.",
        ),
        Code.DISTRIBUTION_FAILED: _failed(
            "The image was made, but did not come to all the Regions and accounts that it is"
            " to be in.",
            "Use the AMI that this answer names, if its Region will do; mend what the message"
            " names, then ask again with isodrop retry: only the distribution is repeated.",
            why="The stack has a DistributionConfigurationArn, and what Image Builder made of it "
            "failed, was cancelled, or was not over when TrackingTimeoutHours were. Most often a "
            "target account has no EC2ImageBuilderDistributionCrossAccountRole, may not use the "
            "key that the image is encrypted with, or has reached its quota of AMIs.",
            retryable=True,
        ),
        Code.STAGING_LOST: _failed(
            "The private copy was gone before it could be imported, and so was the upload.",
            "Drop the ISO again.",
            why="Somebody emptied the staging bucket, or the import waited for longer than the "
            "eight days that a copy is kept; and when the copy was to be made anew, the "
            "uploaded version was there no more. Nothing was spent.",
            retryable=True,
        ),
        Code.CHECKSUM_MISSING: _failed(
            "S3 answered without the checksums that isodrop names an ISO's bytes by.",
            f"See which S3 answers in the stack's Region; then {_ASK_AGAIN}.",
            why="S3 computes the SHA-256 of each part that it copies. Only bytes identify, so "
            "where the checksums are missing nothing stands in for them.",
            retryable=True,
        ),
        Code.IMPORT_REFUSED: _failed(
            "Image Builder refused the import request.",
            "Correct what the message names (most often a stack parameter), update the stack and"
            f" {_ASK_AGAIN}.",
            why="ImportDiskImage answered with an error that asking again does not mend. Most "
            "often a stack parameter names something that is gone or that cannot be used so.",
        ),
        Code.REQUEST_REFUSED: _failed(
            "An AWS service that is asked on the way to the import refused the request.",
            "Correct what the message names (a bucket, a key, a table, a stack parameter) and"
            f" {_ASK_AGAIN}.",
            why="Not Image Builder but another service, such as S3, KMS or DynamoDB, answered "
            "with an error that asking again does not mend. The message begins with the "
            "operation and the service's own code.",
        ),
        Code.ACCESS_DENIED: _failed(
            "AWS denied isodrop an action that the import needs.",
            f"Grant what the message names (a role, a key, a boundary) and {_ASK_AGAIN}.",
            why="A role of the stack, a permissions boundary, a service control policy or a "
            "key policy does not allow it.",
        ),
        Code.SERVICE_UNAVAILABLE: _failed(
            "An AWS service stayed unavailable, throttled or out of quota for hours.",
            f"Check the AWS Health Dashboard and the account's quotas, then {_ASK_AGAIN}.",
            why="Throttling, outages and full quotas are waited out with growing delays; this "
            "one outlasted them all.",
            retryable=True,
        ),
        Code.EXECUTION_ENDED: _failed(
            "The execution that followed the upload ended without an answer.",
            f"See in the execution named in this answer why it ended, then {_ASK_AGAIN};"
            " if its import was begun, that import is taken up.",
            why="The execution was stopped by hand, timed out, or none of its tries to answer went "
            "through. The sweep found that out later, and there was no build to wait for.",
            retryable=True,
        ),
        Code.INTERNAL_ERROR: _failed(
            "isodrop itself failed.",
            f"See in the execution named in this answer what broke, mend it and {_ASK_AGAIN}.",
            why="A function or the state machine ended in an error that no other code stands "
            "for: a defect, or a stack that was changed or broken while it worked.",
            retryable=True,
        ),
    }
)


def docs_anchor(code: Code) -> str:
    """Get where a code is explained, as events carry it.

    A path and no address: a stack does not know where its repository is published. Who shows it
    to people puts their own address before it.
    """
    return f"docs/codes.md#{code}"


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
        entry = CODES[code]
        return cls(code, message or entry.meaning, remedy or entry.remedy)
