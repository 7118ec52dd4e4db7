"""A fake EC2 Image Builder, held to botocore's service model in both directions.

In one process, without a network::

    builder = ImageBuilder(clock=clock)
    imagebuilder = client(builder)          # a real boto3 client
    builder.controls.fail_next_build(step="ValidateIso", message="…")
    imagebuilder.import_disk_image(…)

Behind the server of :mod:`tests.emulator.server` it is the same class.
"""

from tests.emulator.faults import LOST, Fault
from tests.emulator.imagebuilder.checks import InvalidAnswerError
from tests.emulator.imagebuilder.client import client
from tests.emulator.imagebuilder.control import control
from tests.emulator.imagebuilder.controls import Controls
from tests.emulator.imagebuilder.lifecycle import TIMINGS, Build, Doom, scaled
from tests.emulator.imagebuilder.models import ImageBuilder
from tests.emulator.imagebuilder.provisioning import provisioners
from tests.emulator.imagebuilder.values import Call, LostAnswerError, ServiceError
from tests.emulator.imagebuilder.wire import respond
from tests.emulator.imagebuilder.world import MemoryWorld, World

__all__ = [
    "LOST",
    "TIMINGS",
    "Build",
    "Call",
    "Controls",
    "Doom",
    "Fault",
    "ImageBuilder",
    "InvalidAnswerError",
    "LostAnswerError",
    "MemoryWorld",
    "ServiceError",
    "World",
    "client",
    "control",
    "provisioners",
    "respond",
    "scaled",
]
