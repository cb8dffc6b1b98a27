"""The boxes of one sample, a box a column: what a person may give, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensorium.data.kinds import AudioKind, PointsKind, SeriesKind
from sensorium.data.kinds.table import TableColumn
from sensorium.serving.page.given import Field

Box = Any
"""A component of gradio, which is imported only where a page is made."""
NUMBERS = [".csv", ".tsv", ".parquet", ".npy", ".npz"]
ABSENT = "absent"
MANY_COLUMNS = 8


def make_boxes(fields: Sequence[Field]) -> list[Box]:
    """A box for each field, empty, inside whatever is being laid out; the columns of one table stand together."""
    import gradio as gr

    made: dict[str, Box] = {}
    for field in fields:
        if field.values is None:
            made[field.column] = media_box(field)
    for name in dict.fromkeys(field.modality.name for field in fields if field.values is not None):
        columns = [field for field in fields if field.values is not None and field.modality.name == name]
        with gr.Accordion(name, open=len(columns) <= MANY_COLUMNS, elem_classes="table-boxes"):
            for start in range(0, len(columns), 2):
                with gr.Row():
                    for field in columns[start : start + 2]:
                        assert field.values is not None
                        made[field.column] = value_box(field.values)
    return [made[field.column] for field in fields]


def media_box(field: Field) -> Box:
    """A box for a text or a file; cameras and microphones beside uploads."""
    import gradio as gr

    kind = field.modality.kind
    if field.what == "text":
        return gr.Textbox(label=titled(field.column, "text"), lines=2, max_lines=8,
                          placeholder="absent while it is empty")
    if field.what == "files":
        return gr.File(label=titled(field.column, f"{PLURALS[kind.name]}, one or several"), file_count="multiple",
                       height=140)
    if kind.name == "image":
        return gr.Image(label=titled(field.column, "picture"), type="filepath", image_mode=None, height=220,
                        sources=["upload", "webcam", "clipboard"], buttons=[])
    if isinstance(kind, AudioKind) and not field.modality.part:
        assert kind.max_seconds is not None
        read = f"its first {kind.max_seconds:.2g} s are read"
        return gr.Audio(label=titled(field.column, "sound", read), type="filepath", sources=["upload", "microphone"],
                        buttons=[], editable=False)
    if kind.name == "video" or field.modality.part:
        return gr.Video(label=titled(field.column, "video"), sources=["upload", "webcam"], include_audio=True,
                        height=240, buttons=[])
    return gr.File(label=titled(field.column, _numbers(kind)), file_types=NUMBERS, height=140)


PLURALS = {"image": "pictures", "audio": "sounds", "video": "videos", "series": "recordings", "points": "point clouds",
           "text": "files"}


def titled(*parts: str) -> str:
    """A title of a name and what it is, said once."""
    return " · ".join(dict.fromkeys(parts))


def _numbers(kind: Any) -> str:
    """What is in a file of numbers."""
    if isinstance(kind, SeriesKind):
        return f"recording: a file with the columns {_some(kind.channels)}"
    assert isinstance(kind, PointsKind)
    return f"points: a file with the columns {_some(('x', 'y', 'z')[: kind.dimensions or 3] + (kind.features or ()))}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def value_box(column: TableColumn) -> Box:
    """A box for a number, a category or a date of the table."""
    import gradio as gr

    unit = f" ({column.notation.unit})" if column.notation.unit else ""
    if column.type == "number":  # gr.Number shows and sends 0 where nothing was typed
        return gr.Textbox(label=f"{column.name}{unit} · number", placeholder=usual(column), max_lines=1, min_width=130)
    if column.type == "category":
        return gr.Dropdown([(ABSENT, ""), *((one, one) for one in column.categories)], value="", label=column.name,
                           min_width=130)
    order = "31/5/2024" if column.notation.day_first else "5/31/2024"
    return gr.Textbox(label=f"{column.name} · date", placeholder=f"2024-05-31 or {order}", max_lines=1, min_width=130)


def usual(column: TableColumn) -> str:
    """Where nearly all training rows lie, in words."""
    ends = (column.edges[0], column.edges[-1]) if len(column.edges) > 1 else (-2.0, 2.0)
    low, high = (f"{column.mean + column.std * end:.4g}".replace("-", "−") for end in ends)
    return f"absent · {low} to {high}"
