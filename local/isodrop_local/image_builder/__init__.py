"""A fake EC2 Image Builder, which botocore's service model validates in both directions.

In one process, without a network::

    builder = FakeImageBuilder(clock=clock)
    imagebuilder = client(builder)          # a real boto3 client
    builder.controls.fail_next_build(step="ValidateIso", message="…")
    imagebuilder.import_disk_image(…)

Behind the server of :mod:`isodrop_local.server` it is the same class.
"""

from isodrop_local.faults import LOST_RESPONSE, Fault
from isodrop_local.image_builder.checks import InvalidResponseError
from isodrop_local.image_builder.client import client
from isodrop_local.image_builder.control_api import control
from isodrop_local.image_builder.controls import Controls
from isodrop_local.image_builder.environment import AwsEnvironment, InMemoryEnvironment
from isodrop_local.image_builder.lifecycle import TIMINGS, Build, PlannedFailure, scaled
from isodrop_local.image_builder.models import FakeImageBuilder
from isodrop_local.image_builder.provisioning import provisioners
from isodrop_local.image_builder.responses import respond
from isodrop_local.image_builder.values import Call, LostResponseError, ServiceError

__all__ = [
    "LOST_RESPONSE",
    "TIMINGS",
    "AwsEnvironment",
    "Build",
    "Call",
    "Controls",
    "FakeImageBuilder",
    "Fault",
    "InMemoryEnvironment",
    "InvalidResponseError",
    "LostResponseError",
    "PlannedFailure",
    "ServiceError",
    "client",
    "control",
    "provisioners",
    "respond",
    "scaled",
]
