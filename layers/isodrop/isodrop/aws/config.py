"""The configuration of boto3 clients."""

from typing import Final

from botocore.config import Config

CONFIG: Final = Config(
    connect_timeout=3,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="app/isodrop",
)
"""The default. Retries are few and short, because the state machine retries for hours."""

SHORT_TIMEOUT_CONFIG: Final = CONFIG.merge(
    Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
)
"""For best-effort calls, which must not delay anything."""
