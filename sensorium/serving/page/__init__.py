"""The page: what the server can do, for a person in a browser."""

from sensorium.serving.page.mounting import mount

__all__ = ["mount"]
