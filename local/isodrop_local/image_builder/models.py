"""The fake Image Builder itself: its operations, as the service's documentation has them.

It does what https://docs.aws.amazon.com/imagebuilder/latest/APIReference/ says. What is not
documented there is noted in the docstrings.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from botocore.model import OperationModel

from isodrop_local.faults import LOST_RESPONSE, Fault
from isodrop_local.image_builder.build_engine import BuildEngine
from isodrop_local.image_builder.checks import (
    InvalidResponseError,
    check_import,
    check_request,
    check_response,
    listed_errors,
    location,
)
from isodrop_local.image_builder.distribution import Distribution
from isodrop_local.image_builder.lifecycle import RESUMABLE, Build, Entered
from isodrop_local.image_builder.listing import filter_items, images, paginate, resolve
from isodrop_local.image_builder.progress import executions
from isodrop_local.image_builder.resources import (
    DISTRIBUTION_CONFIGURATION,
    INFRASTRUCTURE,
    TYPES,
    Resources,
    ResourceType,
)
from isodrop_local.image_builder.shapes import service_model
from isodrop_local.image_builder.values import (
    Call,
    Json,
    LostResponseError,
    ServiceError,
    invalid,
    normalize_name,
    not_found,
)

_MAX_TAGS: Final = 50
_LIFECYCLE: Final = frozenset({"AVAILABLE", "DEPRECATED", "DISABLED"})
_MISMATCH: Final = "IdempotentParameterMismatchException"


class FakeImageBuilder(BuildEngine):
    """EC2 Image Builder of one account in one Region, as far as imports and their distribution go.

    Parameters
    ----------
    *arguments, **settings
        See :class:`~isodrop_local.image_builder.build_engine.BuildEngine`.

    Attributes
    ----------
    infrastructure, distribution : Resources
        The infrastructure and the distribution configurations.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.resources = {
            each: Resources(each, self._arn(each.segment, ""), self.clock) for each in TYPES
        }
        self.infrastructure_configurations = self.resources[INFRASTRUCTURE]
        self.distribution_configurations = self.resources[DISTRIBUTION_CONFIGURATION]
        self._responses: dict[tuple[str, str], tuple[Json, Json]] = {}

    def call(self, operation: str, parameters: Json) -> Json:
        """Run an operation; request and response are validated by the service model.

        Raises
        ------
        ServiceError
            The error that the service returns.
        LostResponseError
            The caller gets no response.
        InvalidResponseError
            A defect of the fake, which must not go unnoticed.
        """
        self.tick()
        fault = self.controls.faults.take_due(operation)
        response: Json = {}
        took_effect = False
        with self._lock:
            try:
                if fault is None or fault.committed:
                    response = self._perform(operation, parameters)
                    took_effect = True
                if fault:
                    raise _to_error(fault)
            except (ServiceError, LostResponseError) as error:
                self._record(operation, parameters, error.code, took_effect, response)
                if fault and fault.kill_caller:
                    self.environment.kill_caller()
                raise
            self._record(operation, parameters, None, took_effect, response)
        self.tick()
        return response

    def _record(
        self, operation: str, sent: Json, error: str | None, took_effect: bool, response: Json
    ) -> None:
        build = response.get("imageBuildVersionArn")
        self.controls.calls.append(Call(self.clock(), operation, sent, error, took_effect, build))

    def _perform(self, operation: str, parameters: Json) -> Json:
        if operation not in _OPERATIONS:
            raise ServiceError("UnknownOperationException", f"{operation} is not emulated.", 404)
        model = service_model().operation_model(operation)
        try:
            check_request(model, parameters)
        except ServiceError as error:
            self.controls.record_violation(f"{operation}: {error.message}")
            raise
        response = self._perform_once(model, parameters)
        if model.output_shape and "requestId" in model.output_shape.members:
            unique = f"{operation}/{len(self.controls.calls)}/{self.clock()}"
            response = response | {"requestId": str(uuid5(NAMESPACE_URL, unique))}
        try:
            check_response(model, response, {future.status for future in self.controls.futures})
        except InvalidResponseError as error:
            self.controls.record_violation(f"a defect of the fake: {error}")
            raise
        return response

    def _perform_once(self, operation: OperationModel, parameters: Json) -> Json:
        """Run an operation once per client token; a failed one does not use the token up.

        "If you retry a request with the same client token, Image Builder returns the original
        response without running the operation again." With other parameters most operations list
        IdempotentParameterMismatchException. ImportDiskImage does not; what it does then is not
        documented, so it returns the original here, and a violation is recorded.
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
        """
        if "clientToken" not in parameters:
            return _OPERATIONS[operation.name](self, parameters)
        token = (operation.name, str(parameters["clientToken"]))
        if token not in self._responses:
            response = _OPERATIONS[operation.name](self, parameters)
            self._responses[token] = (parameters, response)
            return response
        before, response = self._responses[token]
        other = [key for key in {*before, *parameters} if before.get(key) != parameters.get(key)]
        if other:
            detail = (
                f"clientToken {token[1]} was reused with a different {', '.join(sorted(other))}"
            )
            self.controls.record_violation(f"{operation.name}: {detail}")
            if _MISMATCH in listed_errors(operation):
                raise ServiceError(_MISMATCH, detail)
        return response

    def forget_tokens(self) -> None:
        """Forget all client tokens, as the service does after an undocumented time."""
        with self._lock:
            self._responses.clear()

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:imagebuilder:{self.region}:{self.account}:{kind}/{name}"

    # Operations on images.

    def import_disk_image(self, request: Json) -> Json:
        """Create the image at once; it is PENDING.

        "If an image with the same name and semantic version already exists (…), the import creates
        a new build version for it." Numbers of deleted builds are not reused here; that is not
        documented.
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ImportDiskImage.html
        """
        check_import(request)
        arn = str(request["infrastructureConfigurationArn"])
        if arn not in self.infrastructure_configurations.stored:
            raise ServiceError("ClientException", f"The resource with ARN '{arn}' does not exist.")
        bucket, _ = location(request["uri"])
        if not self.environment.owns_bucket(bucket):
            raise ServiceError("ClientException", f"The bucket '{bucket}' is not yours.")
        version = self._arn(
            "image", f"{normalize_name(request['name'])}/{request['semanticVersion']}"
        )
        build = Build(
            arn=self._next(version),
            request=request,
            region=self.region,
            account=self.account,
            infrastructure=self.infrastructure_configurations.get(request)[
                "infrastructureConfiguration"
            ],
            path=self.controls.path(),
            history=[Entered("PENDING", self._moment)],
            tags=dict(request.get("tags", {})),
            planned_failure=self.controls.next_planned_failure(request["name"]),
        )
        return self._start_build(build)

    def distribute_image(self, request: Json) -> Json:
        """Create the image that tracks the distribution at once; it is PENDING.

        Its name and version are not documented. Here it is the next build version of its source,
        which is the most difficult case for callers that list builds or get the newest one.
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DistributeImage.html
        """
        configuration = self.distribution_configurations.get(request)["distributionConfiguration"]
        source = self._source(request["sourceImage"])
        return self._start_build(
            Distribution(
                arn=self._next(source.version_arn),
                request=request,
                region=self.region,
                account=self.account,
                infrastructure={},
                path=self.controls.path("distribution"),
                history=[Entered("PENDING", self._moment)],
                tags=dict(request.get("tags", {})),
                planned_failure=self.controls.next_planned_failure(source.name, "distribution"),
                source=source,
                configuration=configuration,
            )
        )

    def _source(self, wanted: str) -> Build:
        """Find the image to distribute, by its ARN or by the id of one of its AMIs.

        It "must resolve to an AMI in the current Region". The error for one that is not AVAILABLE
        or has no AMI here is not documented. There is no Parameter Store here, and no other AMI.
        """
        here = (self.region, self.account)
        for build in self.builds.values():
            if any((*here, wanted) == (ami.region, ami.account, ami.image) for ami in build.amis):
                return build
        found = resolve(wanted, self._existing_builds())
        if found is None:
            raise not_found(wanted)
        if found.status != "AVAILABLE":
            raise invalid(f"The image '{found.arn}' is {found.status}, not AVAILABLE.")
        if not any((ami.region, ami.account) == here for ami in found.amis):
            raise invalid(f"The image '{found.arn}' has no AMI in {self.region}.")
        return found

    def _next(self, version: str) -> str:
        """Return the ARN of the next build of a version."""
        number = 1 + sum(build.version_arn == version for build in self.builds.values())
        return f"{version}/{number}"

    def _start_build(self, build: Build) -> Json:
        self.builds[build.arn] = build
        return {"clientToken": build.token, "imageBuildVersionArn": build.arn}

    def get_image(self, request: Json) -> Json:
        """Return a build; "a version or wildcard ARN resolves to the latest (…) AVAILABLE".

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_GetImage.html
        """
        arn = str(request["imageBuildVersionArn"])
        build = resolve(arn, self._existing_builds())
        if build is None:
            raise not_found(arn)
        base, _, version = build.version_arn.rpartition("/")
        major, minor, patch = version.split(".")
        return {
            "image": build.image(),
            "latestVersionReferences": {
                "latestVersionArn": f"{base}/x.x.x",
                "latestMajorVersionArn": f"{base}/{major}.x.x",
                "latestMinorVersionArn": f"{base}/{major}.{minor}.x",
                "latestPatchVersionArn": f"{base}/{major}.{minor}.{patch}",
            },
        }

    def list_images(self, request: Json) -> Json:
        """List image versions, or with byName one for each name.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListImages.html
        """
        return paginate("imageVersionList", images(self._existing_builds(), request), request)

    def list_image_build_versions(self, request: Json) -> Json:
        """List builds, the newest first; of an unknown version "an empty list".

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListImageBuildVersions.html
        """
        wanted = request.get("imageVersionArn")
        of_version = [
            build for build in self._existing_builds() if wanted in (None, build.version_arn)
        ]
        newest_first = sorted(of_version, key=lambda build: build.order, reverse=True)
        found = [build.summary() | {"owner": self.account} for build in newest_first]
        return paginate("imageSummaryList", filter_items(found, request), request)

    def list_workflow_executions(self, request: Json) -> Json:
        """List the workflows that a build has started, with their step counts.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListWorkflowExecutions.html
        """
        build = self._build(request["imageBuildVersionArn"])
        started = [each.to_response() for each in executions(build, self._moment, self.timings)]
        response = paginate("workflowExecutions", started, request)
        return response | {
            "imageBuildVersionArn": build.arn,
            "message": build.current.reason[:500],
        }

    def list_workflow_step_executions(self, request: Json) -> Json:
        """List the steps of one workflow execution.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_ListWorkflowStepExecutions.html
        """
        for build in self._existing_builds():
            for each in executions(build, self._moment, self.timings):
                if each.id == request["workflowExecutionId"]:
                    return paginate("steps", each.steps_to_response(), request) | {
                        "workflowBuildVersionArn": each.workflow.arn(self.region),
                        "workflowExecutionId": each.id,
                        "imageBuildVersionArn": build.arn,
                    }
        raise invalid(f"There is no workflow execution '{request['workflowExecutionId']}'.")

    def cancel_image_creation(self, request: Json) -> Json:
        """Start to cancel; "can only be used on images in a non-terminal state".

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CancelImageCreation.html
        """
        self._cancel(request["imageBuildVersionArn"])
        return _echo(request)

    def retry_image(self, request: Json) -> Json:
        """Return to "the test or distribution phase where it failed".

        The result for a build that failed before those phases is not documented: refused here.
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_RetryImage.html
        """
        build = self._build(request["imageBuildVersionArn"])
        if build.running:
            raise ServiceError("ResourceInUseException", f"The image is {build.status}.")
        if build.status not in ("FAILED", "CANCELLED"):
            raise invalid(f"The image is {build.status}, not FAILED or CANCELLED.")
        back_to = build.history[-2].status
        if back_to not in RESUMABLE:
            raise invalid(f"The image ended in {back_to}: there is nothing to resume from.")
        build.planned_failure = build.cancel_at = None
        self._enter(build, back_to)
        return _echo(request)

    def delete_image(self, request: Json) -> Json:
        """Delete; "it also fails while the image build is still running".

        The error is not documented.
        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteImage.html
        """
        build = self._build(request["imageBuildVersionArn"])
        if build.running:
            raise ServiceError("ResourceDependencyException", f"The image is {build.status}.")
        self.delete(build.arn)
        return {"imageBuildVersionArn": build.arn}

    def start_resource_state_update(self, request: Json) -> Json:
        """Change a finished image's state, at once; updateAt and exclusionRules are not modeled.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_StartResourceStateUpdate.html
        """
        build = self._build(request["resourceArn"])
        wanted = request["state"].get("status")
        included = "includeResources" in request
        if build.running:
            raise ServiceError("ResourceInUseException", f"The image is {build.status}.")
        if included != ("executionRole" in request):
            raise invalid("'includeResources' and 'executionRole' must come together.")
        if wanted == "DELETED" and not included:
            raise invalid("DELETED needs 'includeResources'; see DeleteImage.")
        if build.status not in _LIFECYCLE and wanted != "DELETED":
            raise invalid(f"An image that is {build.status} can only become DELETED.")
        if not wanted or "updateAt" in request or "exclusionRules" in request:
            raise invalid("This fake changes states at once and without exceptions.")
        self._enter(build, wanted)
        lifecycle = {"lifecycleExecutionId": build.id("lce", len(build.history))}
        return {"resourceArn": build.arn} | (lifecycle if included else {})

    # Tags.

    def tag_resource(self, request: Json) -> Json:
        """Add tags to an image or another resource.

        https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_TagResource.html
        """
        tags = self._tags(request["resourceArn"])
        if len({*tags, *request["tags"]}) > _MAX_TAGS:
            raise ServiceError("InvalidParameterException", f"More than {_MAX_TAGS} tags.")
        tags.update(request["tags"])
        return {}

    def untag_resource(self, request: Json) -> Json:
        """Remove tags; missing ones are ignored."""
        tags = self._tags(request["resourceArn"])
        for key in request["tagKeys"]:
            tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, request: Json) -> Json:
        """List tags; without tags the member is omitted, because the model allows no empty map."""
        tags = self._tags(request["resourceArn"])
        return {"tags": dict(tags)} if tags else {}

    def tags_of(self, arn: str) -> dict[str, str] | None:
        """Return the tags of an image or another resource, if it exists."""
        try:
            return dict(self._tags(arn))
        except ServiceError:
            return None

    def _tags(self, arn: str) -> dict[str, str]:
        for each in self.resources.values():
            if arn in each.stored:
                tags: dict[str, str] = each.stored[arn]["tags"]
                return tags
        return self._build(arn).tags


def _to_error(fault: Fault) -> ServiceError | LostResponseError:
    """Make the exception for a fault."""
    if fault.code == LOST_RESPONSE:
        return LostResponseError(fault.message)
    return ServiceError(fault.code, fault.message, fault.status)


def _echo(request: Json) -> Json:
    return {name: request[name] for name in ("clientToken", "imageBuildVersionArn")}


_Operation = Callable[[FakeImageBuilder, Json], Json]


def _operations(resource_type: ResourceType) -> dict[str, _Operation]:
    """Make the operations of a type of resource."""

    def listed(builder: FakeImageBuilder, request: Json) -> Json:
        summaries = builder.resources[resource_type].summaries()
        found = filter_items(summaries, request, resource_type.filters)
        return paginate(f"{resource_type.member}SummaryList", found, request)

    name = resource_type.name
    return {
        f"Create{name}": lambda builder, request: builder.resources[resource_type].create(request),
        f"Delete{name}": lambda builder, request: builder.resources[resource_type].delete(request),
        f"Get{name}": lambda builder, request: builder.resources[resource_type].get(request),
        f"List{resource_type.plural}": listed,
    }


_OPERATIONS: Final[Mapping[str, _Operation]] = {
    "CancelImageCreation": FakeImageBuilder.cancel_image_creation,
    "DeleteImage": FakeImageBuilder.delete_image,
    "DistributeImage": FakeImageBuilder.distribute_image,
    "GetImage": FakeImageBuilder.get_image,
    "ImportDiskImage": FakeImageBuilder.import_disk_image,
    "ListImageBuildVersions": FakeImageBuilder.list_image_build_versions,
    "ListImages": FakeImageBuilder.list_images,
    "ListTagsForResource": FakeImageBuilder.list_tags_for_resource,
    "ListWorkflowExecutions": FakeImageBuilder.list_workflow_executions,
    "ListWorkflowStepExecutions": FakeImageBuilder.list_workflow_step_executions,
    "RetryImage": FakeImageBuilder.retry_image,
    "StartResourceStateUpdate": FakeImageBuilder.start_resource_state_update,
    "TagResource": FakeImageBuilder.tag_resource,
    "UntagResource": FakeImageBuilder.untag_resource,
    "UpdateInfrastructureConfiguration": lambda self, request: (
        self.infrastructure_configurations.update(request)
    ),
    **{name: operation for each in TYPES for name, operation in _operations(each).items()},
}
OPERATIONS: Final = frozenset(_OPERATIONS)
"""The operations that the fake supports."""
