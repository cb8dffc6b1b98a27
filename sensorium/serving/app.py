"""The HTTP API over a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sensorium import __version__
from sensorium.errors import SensoriumError
from sensorium.serving.answering import answered, encoded
from sensorium.serving.asgi import error_body
from sensorium.serving.body import BodyReader
from sensorium.serving.calls import Ask, Call, Predict
from sensorium.serving.describing import described
from sensorium.serving.keys import KeyGuard
from sensorium.serving.openapi import document
from sensorium.serving.options import OPTIONS
from sensorium.serving.performing import refuse_unable
from sensorium.serving.reading import Reader, Sent, check_type
from sensorium.serving.refusal import Refusal, busy
from sensorium.serving.service import Service
from sensorium.serving.watching import Watch

FEW_ROWS = 16
PAGE = "/page"
PLAIN = ("/schema", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")


def make_app(service: Service, *, page: bool = True, api_key: str | Sequence[str] | None = None) -> FastAPI:
    """A FastAPI application that answers for a service.

    Args:
        service: the model; it is closed when the application ends.
        page: mount the page, where gradio is installed.
        api_key: a key, or several of which any opens; None: everybody may ask.

    Example: uvicorn.run(make_app(Service(open_engine("runs/x"))))
    """
    keys = [api_key] if isinstance(api_key, str) else list(api_key or ())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(title=f"sensorium: {service.identity.id}", version=__version__, lifespan=lifespan, redoc_url=None)
    app.state.service = service
    bodies = BodyReader(service.limits)
    reader = Reader(service.schema, service.limits)
    for verb in OPTIONS:
        _add_verb(app, service, verb, bodies, reader)
    _add_plain(app, service, keyed=bool(keys))
    _add_errors(app)
    if page and find_spec("gradio") is not None:
        from sensorium.serving.page import mount

        mount(app, service)
    if keys:
        app.add_middleware(KeyGuard, keys=keys, browser=(PAGE, "/docs", "/openapi.json"))
    app.add_middleware(Watch, service=service, routes=[*(f"/{verb}" for verb in OPTIONS), *PLAIN, "/", PAGE])
    return app


def _add_verb(app: FastAPI, service: Service, verb: str, bodies: BodyReader, reader: Reader) -> None:
    async def endpoint(request: Request) -> Response:
        refuse_unable(verb, service.abilities)
        check_type(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
        known: list[Call] = []
        async with bodies.read(request) as body:
            sent = Sent(body, request.headers["content-type"], request.query_params.multi_items())

            def read() -> Call:
                known.append(reader.call(verb, sent))
                return known[0]

            result = await _result(service, read)
        call = known[0]
        if isinstance(call, Predict | Ask) and len(call.rows) <= FEW_ROWS:
            content = encoded(answered(call, result, service.engine))
        else:
            content = await asyncio.to_thread(lambda: encoded(answered(call, result, service.engine)))
        return Response(content, media_type="application/json")

    app.add_api_route(f"/{verb}", endpoint, methods=["POST"], name=verb)


async def _result(service: Service, read: Any) -> Any:
    """Wait for an answer without keeping the event loop."""
    future = asyncio.wrap_future(service.start(read))
    try:
        async with asyncio.timeout(service.limits.patience_s):
            return await future
    except TimeoutError as error:
        raise busy(f"no answer within {service.limits.patience_s:g} s: try again later") from error


def _add_plain(app: FastAPI, service: Service, *, keyed: bool) -> None:
    """What needs no model."""
    @app.get("/schema")
    async def schema() -> Response:
        return Response(encoded(described(service)), media_type="application/json")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        if service.draining:
            raise busy("the server is being stopped")
        return {"status": "ready"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(document(service, keyed=keyed))
        return made

    app.openapi = openapi  # type: ignore[method-assign]


def _add_errors(app: FastAPI) -> None:
    """Errors as one line of JSON."""
    @app.exception_handler(SensoriumError)
    async def sensorium_error(_: Request, error: SensoriumError) -> Response:
        status, retry = (error.status, error.retry_s) if isinstance(error, Refusal) else (422, None)
        headers = {} if retry is None else {"Retry-After": str(retry)}
        if status in (404, 408, 413, 415):  # there may be a body that nobody read
            headers["Connection"] = "close"
        return _error(status, str(error), headers)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        what = {404: "there is nothing at this address: /docs says what there is",
                405: f"{request.method} is not what this address takes"}.get(error.status_code, str(error.detail))
        return _error(error.status_code, what, {**(error.headers or {}), "Connection": "close"})

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return _error(400, "the connection ended before the body did", {"Connection": "close"})


def _error(status: int, what: str, headers: dict[str, str]) -> Response:
    return Response(error_body(what), status, headers, media_type="application/json")
