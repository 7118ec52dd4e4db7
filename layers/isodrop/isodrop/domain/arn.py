"""Amazon Resource Names. Pure."""

import re
from dataclasses import dataclass
from typing import Final

_ARN: Final = re.compile(r"arn:(aws[a-z-]*):([a-z0-9-]+):([a-z0-9-]*):([a-z0-9-]*):(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Arn:
    """An ARN and its parts.

    Attributes
    ----------
    partition, service : str
        Such as ``aws`` and ``imagebuilder``.
    region, account : str
        Empty if ARNs of the service have none, such as those of S3.
    resource : str
        The rest, such as ``image/windows-11/11.26100.1742/1``.

    References
    ----------
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> "Arn":
        """Parse an ARN.

        Raises
        ------
        ValueError
            It is not an ARN.

        Examples
        --------
        >>> arn = Arn.parse("arn:aws:ssm:eu-central-1:123456789012:parameter/isos")
        >>> arn.service, arn.region, arn.account, arn.resource
        ('ssm', 'eu-central-1', '123456789012', 'parameter/isos')
        """
        match = _ARN.fullmatch(text)
        if match is None:
            raise ValueError(f"not an ARN: {text!r}")
        return cls(*match.groups())

    def sibling(self, service: str, resource: str) -> "Arn":
        """Return the ARN of a resource in the same partition, Region and account.

        Examples
        --------
        >>> arn = Arn.parse("arn:aws:ssm:eu-central-1:123456789012:parameter/isos")
        >>> str(arn.sibling("kms", "alias/isos"))
        'arn:aws:kms:eu-central-1:123456789012:alias/isos'
        """
        return Arn(self.partition, service, self.region, self.account, resource)

    def __str__(self) -> str:
        """Return the ARN as AWS writes it."""
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"
