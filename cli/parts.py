"""The doctor's look at each part that is reached over the network. Addresses are shown, secrets never.

Everything is imported at the top, so that no check pays with its own time for the imports of another.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoRegionError
from onlyfansapi import APIStatusError as GatewayStatusError
from onlyfansapi import OnlyFansAPIError
from openai import APIStatusError, OpenAIError
from redis.exceptions import AuthenticationError, RedisError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from adapters.onlyfans import open_gateway
from adapters.provider import open_models
from adapters.redis import RedisDependency, open_redis
from adapters.settings import Settings
from adapters.tables import TABLES
from adapters.temporal import connect
from cli.finding import Finding, failed, ok, warning
from cli.stack import HEALTH
from domain.campaign import SEARCH_ATTRIBUTES
from domain.provider import Provider
from workflows.policies import ORCHESTRATION, TASK_QUEUES

_RPC = timedelta(seconds=2)
_START = "start it (huntaze up brings one)"


async def redis(settings: Settings) -> list[Finding]:
    """Reachable, and recent enough for the scripts."""

    address = _without_secrets(settings.redis_url.get_secret_value())
    try:
        async with open_redis(settings) as client:
            version = (await RedisDependency(client).check())["version"]
    except AuthenticationError:
        return [failed("Redis", f"{address} refuses the password", "correct HUNTAZE_REDIS_URL")]
    except (RedisError, OSError, ValueError):
        return [failed("Redis", f"nothing answers at {address}", f"{_START}, or correct HUNTAZE_REDIS_URL")]
    if int(version.partition(".")[0]) < 7:
        return [failed("Redis", f"{address} is version {version}", "use Redis 7.0 or later")]
    return [ok("Redis", f"{address}, version {version}")]


async def dynamodb(settings: Settings) -> list[Finding]:
    """Reachable, and every table there."""

    def missing() -> tuple[str, list[str]]:
        config = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
        client = boto3.client("dynamodb", config=config)
        absent = []
        for name in (f"{settings.table_prefix}{table}" for table in TABLES):
            try:
                client.describe_table(TableName=name)
            except client.exceptions.ResourceNotFoundException:
                absent.append(name)
        return client.meta.endpoint_url, absent

    try:
        address, absent = await asyncio.to_thread(missing)
    except NoRegionError:
        return [failed("DynamoDB", "no AWS region is set", "set AWS_REGION and credentials, or start: huntaze up")]
    except EndpointConnectionError as error:
        told = f"nothing answers at {_without_secrets(error.kwargs.get('endpoint_url', 'its address'))}"
        return [failed("DynamoDB", told, f"{_START}, or correct AWS_ENDPOINT_URL")]
    except (BotoCoreError, ClientError) as error:
        told = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        return [failed("DynamoDB", told, "check AWS_REGION, the credentials and their permissions")]
    if absent:
        return [failed("DynamoDB", f"{address} has no table {', '.join(absent)}", "create them: huntaze migrate")]
    return [ok("DynamoDB", f"{_without_secrets(address)}, all {len(TABLES)} tables exist")]


async def temporal() -> list[Finding]:
    """Reachable, namespace there, search attributes registered, a worker on each task queue."""

    address = _temporal_address()
    if not address:
        return [failed("Temporal", "TEMPORAL_ADDRESS is not set", f"set it, for example to 127.0.0.1:7233; {_START}")]
    try:
        client = await connect()
        await _describe_namespace(client)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            remedy = "create it: temporal operator namespace create, or correct TEMPORAL_NAMESPACE"
            return [failed("Temporal", f"{address} has no such namespace", remedy)]
        return [failed("Temporal", f"{address} answers {error.status.name}", "check TEMPORAL_API_KEY and TLS")]
    except RuntimeError:
        return [failed("Temporal", f"nothing answers at {address}", f"{_START}, or correct TEMPORAL_ADDRESS")]
    found = ok("Temporal", f"{address}, namespace {client.namespace}")
    return [found, await _search_attributes(client), await _workers(client)]


async def _describe_namespace(client: Client) -> None:

    await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace), timeout=_RPC)


async def _search_attributes(client: Client) -> Finding:

    name = "search attributes"
    try:
        request = ListSearchAttributesRequest(namespace=client.namespace)
        known = (await client.operator_service.list_search_attributes(request, timeout=_RPC)).custom_attributes
    except RPCError as error:
        return warning(name, f"can't be listed ({error.status.name})", "compare them in the Temporal UI")
    absent = [attribute for attribute in SEARCH_ATTRIBUTES if attribute not in known]
    if absent:
        remedy = "temporal operator search-attribute create " + " ".join(
            f"--name {attribute} --type {SEARCH_ATTRIBUTES[attribute]}" for attribute in absent
        )
        return failed(name, f"not registered: {', '.join(absent)}", remedy)
    return ok(name, f"all {len(SEARCH_ATTRIBUTES)} registered")


async def _workers(client: Client) -> Finding:

    async def polled(queue: str) -> bool:
        workflows = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
        kind = workflows if queue == ORCHESTRATION else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
        return bool((await client.workflow_service.describe_task_queue(request, timeout=_RPC)).pollers)

    answers = await asyncio.gather(*(polled(queue) for queue in TASK_QUEUES))
    idle = [queue for queue, answer in zip(TASK_QUEUES, answers, strict=True) if not answer]
    if idle:
        return failed("workers", f"none serves {', '.join(idle)}", f"huntaze worker {' '.join(idle)}")
    return ok("workers", f"every task queue is served: {', '.join(TASK_QUEUES)}")


async def gateway(settings: Settings) -> list[Finding]:
    """The OnlyFans gateway accepts our key."""

    name, address = "OnlyFans gateway", _without_secrets(settings.onlyfans_base_url)
    if not settings.onlyfans_api_key.get_secret_value():
        return [failed(name, "there is no key", "set ONLYFANSAPI_API_KEY (huntaze up brings a simulator)")]
    try:
        async with open_gateway(settings) as client:
            await client.check()
    except GatewayStatusError as error:
        return [failed(name, f"{address} answers {error.status_code}", "check ONLYFANSAPI_API_KEY")]
    except OnlyFansAPIError:
        return [failed(name, f"{address} can't be reached", "check HUNTAZE_ONLYFANS_BASE_URL and the network")]
    return [ok(name, f"{address} accepts the key")]


async def azure(settings: Settings) -> list[Finding]:
    """Azure OpenAI accepts our key."""
    if not settings.azure_openai_endpoint or not settings.azure_openai_api_key.get_secret_value():
        remedy = "set AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY (huntaze up brings a simulator)"
        return [failed("Azure OpenAI", "there is no endpoint or no key", remedy)]
    names = {"key": "AZURE_OPENAI_API_KEY", "address": "AZURE_OPENAI_ENDPOINT"}
    return [await _provider("azure", "Azure OpenAI", settings.azure_openai_endpoint, names, settings)]


async def openai(settings: Settings) -> list[Finding]:
    """OpenAI accepts our key."""
    if not settings.openai_api_key.get_secret_value():
        return [failed("OpenAI", "there is no key", "set OPENAI_API_KEY (huntaze up brings a simulator)")]
    names = {"key": "OPENAI_API_KEY", "address": "OPENAI_BASE_URL"}
    return [await _provider("openai", "OpenAI", settings.openai_base_url, names, settings)]


async def api(given: str | None, settings: Settings) -> list[Finding]:
    """The HTTP API is alive and has what it needs."""

    url = given or f"http://{settings.api_host}:{settings.api_port}"
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=given is not None) as http:
            (await http.get(f"{url}{HEALTH}/live")).raise_for_status()
            ready = (await http.get(f"{url}{HEALTH}/ready")).json()
    except (httpx.HTTPError, ValueError):
        return [failed("API", f"nothing answers at {_without_secrets(url)}", "start it: huntaze up, or huntaze api")]
    if ready["status"] != "ready":
        return [failed("API", f"alive, but can't reach {', '.join(ready['missing'])}", "mend those first")]
    return [ok("API", f"{_without_secrets(url)} is alive and ready")]


async def _provider(key: str, name: str, url: str, names: Mapping[str, str], settings: Settings) -> Finding:

    address = _without_secrets(url)
    try:
        async with open_models(settings) as models:
            await models[Provider(key)].check()
    except APIStatusError as error:
        return failed(name, f"{address} answers {error.status_code}", f"check {names['key']}")
    except OpenAIError:
        return failed(name, f"{address} can't be reached", f"check {names['address']} and the network")
    return ok(name, f"{address} accepts the key")


def _temporal_address() -> str:

    return ClientConfig.load_client_connect_config().get("target_host", "")


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"
