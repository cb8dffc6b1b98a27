"""The API key: without it only the health of the server can be asked for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path

from sensorium.errors import RecipeError
from sensorium.serving.asgi import App, Receive, Scope, Send, header, send_error

VARIABLE = "SENSORIUM_API_KEY"
OPEN = frozenset({"/healthz", "/readyz"})
SHORTEST = 8


class KeyGuard:
    """An ASGI middleware that answers 401 to requests without a key.

    A key comes as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, or as the password of HTTP Basic, which a browser
    asks a person for. Keys are compared by their digests, in constant time.

    Args:
        app: what is behind it.
        keys: any of them opens.
        browser: paths where a browser is told to ask: those that begin so, and `/`.
    """

    def __init__(self, app: App, keys: Sequence[str], browser: Sequence[str] = ()) -> None:
        self.app = app
        self.digests = [_digest(key) for key in keys]
        self.browser = tuple(browser)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN or self._opens(scope):
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        asks = scope["path"] == "/" or scope["path"].startswith(self.browser) if self.browser else False
        await send_error(send, 401, "a key is needed: send it as Authorization: Bearer KEY or as X-API-Key: KEY",
                         headers=[(b"www-authenticate", b'Basic realm="sensorium"' if asks else b"Bearer")])

    def _opens(self, scope: Scope) -> bool:
        """Whether a key is there; every one of them is compared, whatever the first says."""
        digest = _digest(given_key(scope))
        found = [hmac.compare_digest(digest, own) for own in self.digests]
        return any(found)


def given_key(scope: Scope) -> str:
    """The key that a request brings; "" where it brings none."""
    own = header(scope, b"x-api-key")
    if own:
        return own
    scheme, _, value = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
    return ""


def read_keys(key: str | None, file: Path | None) -> list[str]:
    """The keys of an option, of a file (one a line), or of the environment; none where nothing says so.

    Raises:
        RecipeError: a file without keys, a key shorter than eight signs or with others than visible ASCII.
    """
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"--api-key-file: cannot read {str(file)!r}") from error
        keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not keys:
            raise RecipeError(f"--api-key-file: there is no key in {str(file)!r}")
    else:
        given = key if key is not None else os.environ.get(VARIABLE)
        keys = [] if given is None else [given.strip()]
    for one in keys:
        if len(one) < SHORTEST or not one.isascii() or not one.isprintable() or " " in one:
            raise RecipeError(f"an API key has at least {SHORTEST} visible ASCII signs and no blanks")
    return keys


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
