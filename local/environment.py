"""The environment of the product's processes: everything in it is on this machine unless real AI is asked for."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from adapters.settings import Environment, Settings
from local import ports, temporal
from local.process import child_environment

_DRAIN_S = 3.0


def environment(port: Mapping[str, int], *, use_real: bool = False, overrides: Mapping[str, str]) -> dict[str, str]:
    """The variables that lead API, worker and command line to the local parts, on these ports.

    ``use_real``: to the real AI services whose keys are set; ``overrides`` win over everything.
    """
    bypass = ",".join(filter(None, (os.environ.get("NO_PROXY"), ports.HOST, "localhost")))
    local = {
        "HUNTAZE_ENVIRONMENT": Environment.DEVELOPMENT.value,
        "HUNTAZE_API_HOST": ports.HOST,
        "HUNTAZE_API_PORT": str(port["api"]),
        "HUNTAZE_JWT_ALGORITHM": "HS256",
        "HUNTAZE_JWT_SECRET": secrets.token_urlsafe(48),
        "HUNTAZE_DRAIN_TIMEOUT_S": str(_DRAIN_S),
        "HUNTAZE_REDIS_URL": f"redis://{ports.HOST}:{port['redis']}/0",
        "HUNTAZE_ONLYFANS_BASE_URL": ports.url(port["onlyfans"]),
        "ONLYFANSAPI_API_KEY": "local",
        "HUNTAZE_WEBHOOK_SECRET": secrets.token_urlsafe(48),
        "OPENAI_BASE_URL": f"{ports.url(port['ai'])}/v1",
        "OPENAI_API_KEY": "local",
        "AZURE_OPENAI_ENDPOINT": ports.url(port["ai"]),
        "AZURE_OPENAI_API_KEY": "local",
        "LEGACY_BASE_URL": ports.url(port["legacy"]),
        **temporal.environment(port["temporal"]),
        "AWS_ENDPOINT_URL": ports.url(port["moto"]),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "NO_PROXY": bypass,
        "no_proxy": bypass,
    }
    return local | (_real_ai() if use_real else {}) | dict(overrides)


def _real_ai() -> dict[str, str]:
    """The user's own services; ``.env`` counts like the environment."""
    settings = Settings(environment=Environment.DEVELOPMENT)
    real: dict[str, str] = {}
    if key := settings.openai_api_key.get_secret_value():
        real |= {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": settings.openai_base_url}
    key = settings.azure_openai_api_key.get_secret_value()
    if key and settings.azure_openai_endpoint:
        real |= {"AZURE_OPENAI_API_KEY": key, "AZURE_OPENAI_ENDPOINT": settings.azure_openai_endpoint}
    if not real:
        raise ValueError(
            "no key for real AI: set OPENAI_API_KEY, or AZURE_OPENAI_API_KEY together with AZURE_OPENAI_ENDPOINT"
        )
    return real


@contextmanager
def in_force(env: Mapping[str, str]) -> Iterator[None]:
    """For a block, this process sees what a child with ``env`` sees: no account or key of the user's own."""
    before, wanted = dict(os.environ), child_environment(env)
    os.environ.update(wanted)
    for name in before.keys() - wanted.keys():
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
