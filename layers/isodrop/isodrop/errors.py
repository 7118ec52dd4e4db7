"""The errors of isodrop: one tree, each with the code that an answer gives for it."""

from isodrop.codes import Code, Rejection


class IsodropError(Exception):
    """The root of every exception that isodrop raises itself.

    Attributes
    ----------
    code : Code
        What an answer gives for it.
    aws_code : str
        AWS's own code, such as ``PreconditionFailed``; empty where no AWS service said so.
    """

    code: Code = Code.INTERNAL_ERROR
    aws_code: str = ""

    def __init__(self, message: str, *, code: Code | None = None, aws_code: str = "") -> None:
        super().__init__(message)
        self.aws_code = aws_code
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


class CredentialsError(TransientError):
    """AWS does not know the function's credentials: that may pass within minutes, or never will.

    Retried by name, for minutes only.
    """

    code = Code.ACCESS_DENIED


class PermanentError(IsodropError):
    """An AWS service refused the request, and would refuse it again."""

    code = Code.REQUEST_REFUSED


class AccessDeniedError(PermanentError):
    """AWS denied access: a permission is missing somewhere."""

    code = Code.ACCESS_DENIED
