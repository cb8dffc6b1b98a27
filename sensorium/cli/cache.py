"""`sensorium cache`: what frozen encoders have computed and is kept on disk."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.options import Json, print_json

if TYPE_CHECKING:
    from sensorium.data.cache.token_cache import CacheEntry

SHOWN_DIGITS = 12
SHOWN_CHARACTERS = 60


def cache(
    clear: Annotated[str | None, typer.Option(
        "--clear", metavar="KEY|all", help="Remove the tokens of one key (its first digits will do), or all.")] = None,
    limit: Annotated[float | None, typer.Option(
        "--limit", metavar="GB", min=0.0, help="Set the cache's size; what was used least recently goes. 0 keeps "
                                               "nothing.")] = None,
    json: Json = False,
) -> None:
    """List the tokens that frozen encoders have computed, the last used first; clear them, or limit their size.

    They lie in $SENSORIUM_CACHE, else in sensorium/tokens of $XDG_CACHE_HOME or ~/.cache, and are computed anew where
    they are missing.

    Example: [bold]sensorium cache --limit 5[/bold]
    """
    from sensorium.data.cache.token_cache import TokenCache

    tokens = TokenCache()
    freed = 0
    if clear is not None:
        freed += tokens.clear(clear)
    if limit is not None:
        freed += tokens.set_limit(limit * 1e9)
    entries = tokens.entries()
    if json:
        print_json({"root": str(tokens.root), "limit_bytes": int(tokens.limit_bytes), "freed_bytes": freed,
                    "entries": [_to_json(entry) for entry in entries]})
        return
    if clear is not None or limit is not None:
        typer.echo(f"{_size(freed)} freed")
    total = sum(entry.num_bytes for entry in entries)
    typer.echo(f"{tokens.root}: {_size(total)} of at most {_size(tokens.limit_bytes)}")
    for line in _table(entries):
        typer.echo(line)


def _table(entries: list[CacheEntry]) -> list[str]:
    """Aligned columns under their names; nothing where there are no entries."""
    if not entries:
        return []
    lines = [("key", "encoder", "cells", "tokens", "size", "last used", "preprocessing")]
    for entry in entries:
        used = datetime.fromtimestamp(entry.last_used).strftime("%Y-%m-%d %H:%M")
        lines.append((entry.key[:SHOWN_DIGITS], entry.encoder or "(unknown)", f"{entry.num_cells:,}",
                      f"{entry.num_tokens:,}", _size(entry.num_bytes), used, _preprocessing(entry)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(word.rjust(width) if column in (2, 3, 4) else word.ljust(width)
                      for column, (word, width) in enumerate(zip(line, widths, strict=True))).rstrip()
            for line in lines]


def _preprocessing(entry: CacheEntry) -> str:
    """The settings that are short, in words."""
    words = [] if entry.tokens_per_cell is None else [f"at most {entry.tokens_per_cell} tokens a cell"]
    words += [f"{name} {value}" for name, value in entry.preprocessing.items()
              if isinstance(value, str | int | float) and len(str(value)) <= 20]
    text = ", ".join(words)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _size(num_bytes: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.3g} {unit}" if num_bytes < 1000 * size else f"{num_bytes / size:,.0f} {unit}"
    return f"{num_bytes:.0f} bytes"


def _to_json(entry: CacheEntry) -> dict[str, Any]:
    return {"key": entry.key, "encoder": entry.encoder, "preprocessing": entry.preprocessing,
            "tokens_per_cell": entry.tokens_per_cell, "cells": entry.num_cells, "tokens": entry.num_tokens,
            "bytes": entry.num_bytes,
            "last_used": datetime.fromtimestamp(entry.last_used).astimezone().isoformat(timespec="seconds")}
