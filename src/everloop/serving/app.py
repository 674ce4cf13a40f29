"""The prediction service as one plain ASGI callable: the routes, inside a visible list of wrappers."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from everloop.serving.service import Handler, Request, Response, Service
from everloop.serving.wrappers import answering, counted, guarded, limited, routed

WRAPPERS: tuple[Callable[[Service, Handler], Handler], ...] = (counted, answering, routed, guarded, limited)
"""Outermost first. Adding one is a line here and a function in `wrappers`."""


class App:
    """The ASGI application of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        handle: Handler = self._dispatch
        for wrap in reversed(WRAPPERS):
            handle = wrap(service, handle)
        self._handle = handle

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"this application speaks HTTP only, not {scope['type']}")
        response = await self._handle(Request(scope, receive))
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(response.body)),
            *response.headers,
        ]
        if self._service.planes.stopping:
            # Said in the last answer, or the client's next request races with the closing of the connection.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})
        if response.after is not None:
            await response.after()

    async def _dispatch(self, request: Request) -> Response:
        assert request.route is not None, "`routed` stands in the list of wrappers"
        return await request.route.handle(self._service, request)
