"""How the clients of AWS are set up."""

from typing import Final

from botocore.config import Config

CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="app/isodrop",
)
"""For every client. A few quick retries here; the patience is the state machine's."""

FAST_CONFIG: Final = CONFIG.merge(
    Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
)
"""For clients that nobody is to wait for."""
