"""A distribution: the image build version that tracks the distribution of a finished image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from isodrop_local.image_builder.lifecycle import Ami, Build, Kind
from isodrop_local.image_builder.resources import BUILD_DATE
from isodrop_local.image_builder.values import Json


@dataclass(kw_only=True)
class Distribution(Build):
    """The result of DistributeImage; its request is that operation's.

    Its properties are those of its source, including ``buildType``: the real ones are not
    documented.

    Attributes
    ----------
    source : Build
        The distributed image.
    configuration : mapping
        The distribution configuration at the time of the request.
    """

    kind: ClassVar[Kind] = "distribution"

    source: Build
    configuration: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def os_version(self) -> str:
        """The source's operating system."""
        return self.source.os_version

    def image(self) -> Json:
        """Return the image as GetImage does."""
        return super().image() | {"distributionConfiguration": dict(self.configuration)}

    def copies(self, date: str) -> Iterator[Ami]:
        """Return the AMIs that it creates, one for each Region and account, each with its own id.

        "If you don't specify accounts, Image Builder distributes the AMI only to your own account";
        without a name it is "the image name followed by the build timestamp".
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_AmiDistributionConfiguration.html

        Parameters
        ----------
        date : str
            The value of ``{{ imagebuilder:buildDate }}``.
        """
        for each in self.configuration["distributions"]:
            ami = each.get("amiDistributionConfiguration", {})
            name = BUILD_DATE.sub(
                date, ami.get("name", f"{self.name} {{{{imagebuilder:buildDate}}}}")
            )
            for account in ami.get("targetAccountIds", [self.account]):
                unique_id = self.id("ami", each["region"], account).replace("-", "")[3:20]
                yield Ami(
                    each["region"], f"ami-{unique_id}", name, ami.get("description", ""), account
                )

    def distribution_failure(self, message: str) -> Json:
        """Return the failures: in each Region, while the image was copied.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributionFailureContext.html
        """
        failures = [
            {
                "region": ami.region,
                "targetAccountId": ami.account,
                "status": "FAILED",
                "errorMessage": message,
            }
            for ami in self.copies("")
        ]
        # The model requires at least one failure if the member is present.
        return super().distribution_failure(message) | (
            {"regionFailures": failures} if failures else {}
        )
