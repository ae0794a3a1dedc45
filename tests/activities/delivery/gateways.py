"""The real gateway behind callers with a fault of their own."""

import asyncio
from typing import Any

from domain.delivery import Delivered
from domain.ports import Gateway


class ImpatientGateway:
    """The real gateway behind a caller that gives up long before a hanging answer comes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def send(self, **arguments: Any) -> Delivered:
        async with asyncio.timeout(2):
            return await self._gateway.send(**arguments)


class CountingGateway:
    """The real gateway, and how often it was asked to send."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.sends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def send(self, **arguments: Any) -> Delivered:
        self.sends += 1
        return await self._gateway.send(**arguments)


class RefusingGateway:
    """The real gateway, with another body for each key: it refuses every key that it knows."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def send(self, *, text: str, **arguments: Any) -> Delivered:
        return await self._gateway.send(text=f"{text} ", **arguments)
