"""A request that is not answered, and why: the HTTP status and one clear line."""

from __future__ import annotations

from sensorium.errors import SensoriumError


class Refusal(SensoriumError):
    """A request is refused.

    Args:
        status: 400 not understood, 401 no key, 404 an ability the model lacks, 408 too slow, 413 too large, 415 another
            type of body, 422 understood, but cannot be answered, 503 too busy.
        what: one line for the one who asked.
        retry_s: when it is worth asking again; None: as it is, never.
    """

    def __init__(self, status: int, what: str, *, retry_s: int | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.retry_s = retry_s


def busy(what: str = "too many requests are waiting: try again in a moment") -> Refusal:
    """503: come back later."""
    return Refusal(503, what, retry_s=1)
