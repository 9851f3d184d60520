"""Load balancers: each answers on a loopback port of its own.

ministack finds a load balancer by the host name of a request that comes to its one port, and answers paths like /health
itself. Here a request to a load balancer's port goes to its listener's rules, whatever its path is.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import ministack.app
from ministack.core.responses import StreamingResponse, request_scope
from ministack.services import alb
from ministack.services.cloudformation import provisioners

from .settings import Settings

_by_port: dict[int, str] = {}  # the load balancer's ARN


def install(settings: Settings) -> None:
    handlers = provisioners._RESOURCE_HANDLERS["AWS::ElasticLoadBalancingV2::LoadBalancer"]
    create, delete = handlers["create"], handlers["delete"]

    def created(logical_id: str, props: dict[str, Any], stack: str) -> Any:
        port = next((p for p in settings.load_balancer_ports if p not in _by_port), None)
        if port is None:
            raise ValueError(f"the local target has ports for {len(settings.load_balancer_ports)} load balancers, and all are taken")
        arn, attributes = create(logical_id, props, stack)
        _by_port[port] = arn
        return arn, {**attributes, "DNSName": f"127.0.0.1:{port}"}

    def deleted(arn: str, props: dict[str, Any]) -> None:
        delete(arn, props)
        for port in [p for p, owner in _by_port.items() if owner == arn]:
            del _by_port[port]

    handlers["create"], handlers["delete"] = created, deleted


def inventory() -> list[dict[str, str]]:
    return [{"name": alb._lbs[arn]["LoadBalancerName"], "url": f"http://127.0.0.1:{port}"} for port, arn in _by_port.items() if arn in alb._lbs]


async def read_body(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def forward(settings: Settings, port: int, scope: Any, receive: Any, send: Any) -> None:
    body = await read_body(receive)
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
    query = scope.get("query_string", b"").decode("latin-1")
    with request_scope("000000000000", settings.region):
        balancer = alb._lbs.get(_by_port.get(port, ""))
        if balancer is None:
            await ministack.app._send_response(send, 503, {}, b"no load balancer has this port\n")
            return
        status, answer_headers, answer = await alb.dispatch_request(
            balancer, scope["method"], scope["path"], headers, body, parse_qs(query, keep_blank_values=True), 80, client_ip=(scope.get("client") or ("127.0.0.1",))[0],
            raw_query_string=query, raw_path=scope.get("raw_path", b"").decode("latin-1") or None,
        )
    if isinstance(answer, StreamingResponse):
        await ministack.app._send_streaming_response(send, receive, status, dict(answer_headers), answer)
    else:
        await ministack.app._send_response(send, status, dict(answer_headers), answer)
