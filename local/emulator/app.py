"""The emulator's server: one port for AWS's APIs and the registry, one for each load balancer."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import ministack.app

from . import containers, databases, ecs, functions, loadbalancers, pipeline, processes, resources
from .settings import Settings

log = logging.getLogger("local")


async def serve(settings: Settings) -> None:
    processes.adopt()
    processes.share_loopback(settings.port)
    databases.install(settings)
    ecs.install(settings)
    functions.install()
    loadbalancers.install(settings)
    resources.install(settings)

    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{port}" for port in (settings.port, *settings.load_balancer_ports)]
    config.graceful_timeout = 1
    config.accesslog, config.errorlog = None, "-"
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await hypercorn.asyncio.serve(App(settings), config, shutdown_trigger=ended.wait)
    finally:
        processes.stop_all()


class App:
    """An ASGI application in front of ministack's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._faults: set[str] = set()  # what make local-faults has switched on: registry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            port = scope["server"][1]
            if port in self._settings.load_balancer_ports:
                return await loadbalancers.forward(self._settings, port, scope, receive, send)
            if scope["path"].startswith("/_local/"):
                return await _json(send, *self._local(scope["method"], scope["path"].removeprefix("/_local/"), await loadbalancers.read_body(receive)))
            if "registry" in self._faults and scope["path"].startswith("/v2/") and scope["method"] in ("POST", "PATCH", "PUT"):
                return await _json(send, 503, {"errors": [{"code": "UNAVAILABLE", "message": "make local-faults lets the registry refuse uploads"}]})
            target = next((value.decode() for key, value in scope["headers"] if key.lower() == b"x-amz-target"), "")
            if target.startswith(pipeline.TARGET):
                return await _json(send, *pipeline.handle(target.removeprefix(pipeline.TARGET), await loadbalancers.read_body(receive)))
        await ministack.app.app(scope, receive, send)

    def _local(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        kind, _, name = path.partition("/")
        if kind == "ready":
            return 200, {}
        if kind == "inventory":
            return 200, {
                "loadBalancers": loadbalancers.inventory(), "databases": databases.inventory(), "resourceTypes": resources.KINDS,
                "containers": containers.inventory(),
            }
        if kind == "faults" and method == "PUT":
            (self._faults.add if json.loads(body) else self._faults.discard)(name)
            return 200, {}
        if kind == "jobs" and method == "PUT":
            pipeline.create(name, json.loads(body))
            return 200, {}
        if kind == "jobs" and (job := pipeline.read(name)):
            return 200, job
        return 404, {"message": f"nothing is at /_local/{path}"}


async def _json(send: Any, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/x-amz-json-1.1"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
