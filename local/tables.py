"""The DynamoDB tables of a stack."""

from collections.abc import Mapping

from adapters.bootstrap import open_tables
from adapters.settings import Settings
from local.environment import in_force


async def create_tables(env: Mapping[str, str]) -> None:
    """Create what is missing on the stack whose processes see ``env``."""
    with in_force(env):
        async with open_tables(Settings()) as tables:
            await tables.migrate()
