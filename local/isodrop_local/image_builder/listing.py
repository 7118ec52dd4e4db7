"""Finding builds and cutting lists into pages, as Image Builder's List operations do."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from isodrop_local.image_builder.lifecycle import Build
from isodrop_local.image_builder.values import Json, ServiceError, invalid

_PAGE: Final = 25
"""Items of a page unless maxResults is set."""
_FILTERS: Final = ("name", "osVersion", "platform", "type", "version")
_VERSION_FIELDS: Final = (
    "name",
    "type",
    "platform",
    "osVersion",
    "dateCreated",
    "buildType",
    "imageSource",
)


def resolve(arn: str, builds: Iterable[Build]) -> Build | None:
    """Find a build by its ARN, or the newest AVAILABLE one of a version or a wildcard.

    "Builds that were later deprecated, disabled, or deleted don't resolve."
    https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetImage.html
    """
    base, _, version = arn.rpartition("/")
    if version.isdigit():
        return next((build for build in builds if build.arn == arn), None)
    wanted = version.split(".")
    matching = (
        build
        for build in builds
        if build.status == "AVAILABLE"
        and build.version_arn.rpartition("/")[0] == base
        and all(
            node in ("x", str(actual)) for node, actual in zip(wanted, build.order, strict=False)
        )
    )
    return max(matching, key=lambda build: build.order, default=None)


def images(builds: Iterable[Build], request: Mapping[str, Any]) -> list[Json]:
    """List one entry per image version, the newest first; with byName one per name."""
    if request.get("owner", "Self") != "Self":
        return []
    by_name = request.get("byName", False)
    if by_name and any(each.get("name") == "version" for each in request.get("filters", [])):
        raise invalid("'byName' cannot be combined with the filter 'version'.")
    found: dict[str, Json] = {}
    for build in sorted(builds, key=lambda build: build.order, reverse=True):
        of_name, _, version = build.version_arn.rpartition("/")
        summary = build.summary()
        shown = {name: summary[name] for name in _VERSION_FIELDS} | {"owner": build.account}
        shown |= {"arn": f"{of_name}/x.x.x"} if by_name else {"arn": build.version_arn}
        shown |= {} if by_name else {"version": version}
        found.setdefault(shown["arn"], shown)
    return filter_items(list(found.values()), request)


def filter_items(
    items: list[Json], request: Mapping[str, Any], filters: Collection[str] = _FILTERS
) -> list[Json]:
    """Keep the items that match every filter of a request."""
    for each in request.get("filters", []):
        if each.get("name") not in filters:
            raise invalid(f"There is no filter '{each.get('name')}', only {', '.join(filters)}.")
        items = [item for item in items if item.get(each["name"]) in each.get("values", [])]
    return items


def paginate(name: str, items: list[Json], request: Mapping[str, Any]) -> Json:
    """Return the requested page, and the token of the next one."""
    starts = {f"page-{start}": start for start in range(1, len(items))}
    token = request.get("nextToken")
    if token is not None and token not in starts:
        raise ServiceError(
            "InvalidPaginationTokenException", f"'{token}' is not a token of this list."
        )
    start = starts[token] if token else 0
    end = start + request.get("maxResults", _PAGE)
    shown: Json = {name: items[start:end]}
    return shown | ({"nextToken": f"page-{end}"} if end < len(items) else {})
