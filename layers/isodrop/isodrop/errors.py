"""The exceptions of isodrop, each with the code that it leads to in an answer."""

from isodrop.codes import Code, Rejection


class IsodropError(Exception):
    """The base class of all exceptions of isodrop.

    Attributes
    ----------
    code : Code
        The code of the answer.
    aws_code : str
        The AWS error code, such as ``PreconditionFailed``; empty if there is none.
    """

    code: Code = Code.INTERNAL_ERROR
    aws_code: str = ""

    def __init__(self, message: str, *, code: Code | None = None, aws_code: str = "") -> None:
        super().__init__(message)
        self.aws_code = aws_code
        if code is not None:
            self.code = code


class RejectedError(IsodropError):
    """The upload is rejected; :attr:`rejection` contains the details for the answer."""

    def __init__(self, code: Code, message: str = "", remedy: str = "") -> None:
        self.rejection = Rejection.of(code, message, remedy)
        super().__init__(self.rejection.message, code=code)


class TransientError(IsodropError):
    """An AWS service throttles or is unavailable; try again later.

    The state machine recognizes it by the name of this class, and retries the call for hours.
    """

    code = Code.SERVICE_UNAVAILABLE


class QuotaError(TransientError):
    """A service quota, or ``MaxBuildsAtOnce``, is used up. It is retried at longer intervals."""


class CredentialsError(TransientError):
    """AWS rejects the function's credentials, perhaps for a few minutes only.

    It is retried for minutes only.
    """

    code = Code.ACCESS_DENIED


class PermanentError(IsodropError):
    """An AWS service refused the request, and would refuse it again if repeated."""

    code = Code.REQUEST_REFUSED


class AccessDeniedError(PermanentError):
    """AWS denied access because a permission is missing."""

    code = Code.ACCESS_DENIED
