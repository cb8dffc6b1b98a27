"""Logs as JSON, a line an event, on standard error; what people send is never in them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

LOGGERS = {"sensorium.serving": "INFO", "uvicorn.error": "WARNING"}


class JsonLines(logging.Formatter):
    """Time, level, event and fields of a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = getattr(record, "fields", {})
        line = {"time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
                "level": record.levelname.lower(), "event": record.getMessage().partition("\n")[0], **fields}
        if record.exc_info is not None and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr() -> None:
    """Send what the server says to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in LOGGERS.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)  # it quotes what it cannot parse
