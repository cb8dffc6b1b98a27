"""The page of `align_text_image.py`: what every way of aligning finds for some names and for some pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.metrics.retrieval import nearest

Array = npt.NDArray[Any]
SHOWN, NAMES, PICTURES = 5, 24, 12
STYLE = """
:root { --ink: #1d2530; --soft: #5d6875; --line: #dfe3e8; --right: #16804a; --paper: #ffffff; --tint: #f5f7f9 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; padding: 28px;
  max-width: 1240px }
h1 { font-size: 26px; margin: 0 0 6px } h2 { font-size: 19px; margin: 36px 0 4px }
p { max-width: 82ch; margin: 4px 0 12px; color: var(--soft) }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: 7px 10px; vertical-align: middle }
thead th { font-weight: 600; border-bottom: 2px solid var(--ink); white-space: nowrap }
tbody tr { border-bottom: 1px solid var(--line) } tbody th { font-weight: 600 }
.scroll { overflow-x: auto } .scores { width: auto }
.scores td { font-variant-numeric: tabular-nums; white-space: nowrap }
.scores small { color: var(--soft); display: block; font-size: 12px; font-weight: 400 }
.scores .best { font-weight: 700; background: var(--tint) } .scores tr:first-child th[colspan] { border-bottom: 0 }
.e { display: inline-block; width: 40px; height: 40px; background-size: 32px; background-repeat: no-repeat;
  background-position: center; border: 2px solid transparent; border-radius: 8px; vertical-align: middle }
.e.right { border-color: var(--right) } .big { flex: none; width: 52px; height: 52px; background-size: 48px }
.wanted { display: flex; gap: 10px; align-items: center; width: 200px }
.rank { display: block; color: var(--soft); font-size: 12px; padding-left: 6px }
.found { white-space: nowrap } ol { margin: 0; padding-left: 20px; font-size: 13px } li.right { color: var(--right);
  font-weight: 600 }
"""


def write_page(
    out: Path, folder: Path, rows: pl.DataFrame, found: Mapping[str, Mapping[str, Array]],
    scores: Mapping[str, Mapping[str, Mapping[str, str]]],
) -> None:
    """Write one self-contained page.

    Args:
        out: the file.
        folder: where the pictures are.
        rows: the held-out rows of the table.
        found: way → the unit-length embeddings of their names and of their pictures (Twitter's drawings).
        scores: way → direction → R@k → its value with an interval.
    """
    order = np.argsort(rows["group"].to_numpy(), kind="stable")
    names, pictures = (order[np.linspace(0, len(order) - 1, min(many, len(order))).astype(int)]
                       for many in (NAMES, PICTURES))
    drawn: set[int] = set()
    first = "".join(_by_name(rows, found, int(row), drawn) for row in names)
    second = "".join(_by_picture(rows, found, int(row), drawn) for row in pictures[::-1])
    sprites = "".join(f".p{row}{{background-image:url(data:image/png;base64,{_png(folder / rows['twitter'][row])})}}"
                      for row in sorted(drawn))
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Names and pictures in one space</title><style>{STYLE}{sprites}</style>
<h1>Names and pictures in one space</h1>
<p>A frozen BERT reads names, a frozen ResNet-50 sees pictures; neither has ever met the other. Each way below learns to
join them from Google's drawings of other emoji. What you see was held out: none of these {len(rows)} names was learned
from, and all pictures are in Twitter's style, which was never shown. By chance, R@1 would be {1 / len(rows):.3f}.</p>
<div class="scroll">{_scores(scores)}</div>
<h2>What a name finds</h2>
<p>The {SHOWN} nearest of {len(rows)} pictures, nearest first; the right one is framed in green, else its rank is given.
The names were taken evenly over the table's groups, not chosen.</p>
{_table("name, and its picture", found, first)}
<h2>What a picture finds</h2>
<p>The {SHOWN} nearest of {len(rows)} names.</p>
{_table("picture, and its name", found, second)}
</html>"""
    out.write_text(page, encoding="utf-8")


def _scores(scores: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The table of scores, the best of every column in bold."""
    directions = next(iter(scores.values()))
    over = "".join(f'<th colspan="{len(cuts)}">{html.escape(way)}</th>' for way, cuts in directions.items())
    under = "".join(f"<th>{cut}</th>" for cuts in directions.values() for cut in cuts)
    best = {(way, cut): max(line[way][cut] for line in scores.values())
            for way, cuts in directions.items() for cut in cuts}
    body = ""
    for name, line in scores.items():
        cells = ""
        for way, cuts in line.items():
            for cut, value in cuts.items():
                number, span = value.rstrip(")").split(" (")
                cells += f'<td{" class=best" if value == best[way, cut] else ""}>{number}<small>{span}</small></td>'
        body += f"<tr><th>{html.escape(name)}</th>{cells}</tr>"
    return (f'<table class="scores"><thead><tr><th rowspan="2"></th>{over}</tr><tr>{under}</tr></thead>'
            f"<tbody>{body}</tbody></table>")


def _table(title: str, ways: Mapping[str, Any], body: str) -> str:
    columns = "".join(f"<th>{html.escape(way)}</th>" for way in ways)
    return (f'<div class="scroll"><table><thead><tr><th>{title}</th>{columns}</tr></thead><tbody>{body}</tbody></table>'
            f"</div>")


def _by_name(rows: pl.DataFrame, found: Mapping[str, Mapping[str, Array]], row: int, drawn: set[int]) -> str:
    cells = ""
    for vectors in found.values():
        best, place = _nearest(vectors["name"][row], vectors["picture"], row)
        drawn.update(best)
        shown = "".join(_emoji(rows, one, "right" if one == row else "") for one in best)
        cells += f'<td class="found">{shown}{_rank(place)}</td>'
    drawn.add(row)
    return f"<tr><th>{_wanted(rows, row)}</th>{cells}</tr>"


def _wanted(rows: pl.DataFrame, row: int) -> str:
    return f'<div class="wanted">{_emoji(rows, row, "big")}<span>{html.escape(rows["label"][row])}</span></div>'


def _by_picture(rows: pl.DataFrame, found: Mapping[str, Mapping[str, Array]], row: int, drawn: set[int]) -> str:
    cells = ""
    for vectors in found.values():
        best, place = _nearest(vectors["picture"][row], vectors["name"], row)
        items = "".join(f'<li{" class=right" if one == row else ""}>{html.escape(rows["label"][one])}</li>'
                        for one in best)
        cells += f"<td><ol>{items}</ol>{_rank(place)}</td>"
    drawn.add(row)
    return f'<tr><th>{_wanted(rows, row)}</th>{cells}</tr>'


def _nearest(query: Array, gallery: Array, row: int) -> tuple[list[int], int]:
    """The nearest few, and the right one's rank."""
    ordered = nearest(query[None], gallery, len(gallery))[0].tolist()
    return ordered[:SHOWN], ordered.index(row) + 1


def _rank(place: int) -> str:
    return "" if place <= SHOWN else f'<span class="rank">the right one: rank {place}</span>'


def _emoji(rows: pl.DataFrame, row: int, look: str) -> str:
    label = html.escape(rows["label"][row], quote=True)
    return f'<span class="e p{row} {look}" role="img" aria-label="{label}" title="{label}"></span>'


def _png(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
