"""The sample that a person describes once, and that every tab reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.errors import DataError
from sensorium.serving.page.boxes import Box, make_boxes
from sensorium.serving.page.given import Field, fields_of, given_row
from sensorium.serving.service import Service

STALE = "() => { document.querySelectorAll('.results').forEach((one) => one.classList.add('stale')) }"
FRESH = ("(...given) => { document.querySelectorAll('.results').forEach((one) => one.classList.remove('stale')); "
         "return given }")


@dataclass(frozen=True)
class Sample:
    """The boxes of one sample.

    Args:
        fields: the columns.
        boxes: their boxes, in the same order.
        folder: where uploads lie.
    """

    fields: list[Field]
    boxes: list[Box]
    folder: Path

    def row(self, payloads: Sequence[Any], *, may_be_empty: bool = False) -> dict[str, Any]:
        """What is in the boxes.

        Args:
            payloads: what the browser sent for each box.
            may_be_empty: whether nothing at all is of use.

        Raises:
            DataError: every box is empty.
        """
        row = given_row(self.fields, payloads, self.folder)
        if not row and not may_be_empty:
            names = [field.column for field in self.fields]
            raise DataError(f"nothing is given yet: fill one of the boxes ({', '.join(names[:8])}"
                            f"{' …' if len(names) > 8 else ''})")
        return row


def make_sample(service: Service, folder: Path) -> Sample:
    """The boxes of what the model reads, but for what asks, with a button that empties them."""
    import gradio as gr

    names = [name for name in service.schema.names if name not in service.engine.asking]
    fields = fields_of(service.schema, names)
    gr.HTML('<div class="sm"><h2>The sample</h2><p class="quiet">Give whatever there is. An empty box is absent: it is '
            'not read, and nothing stands in for it.</p></div>', apply_default_css=False)
    boxes = make_boxes(fields)
    empty = [None if field.what in ("file", "files") else "" for field in fields]
    gr.Button("Empty all boxes", size="sm").click(None, outputs=boxes, js=f"() => {json.dumps(empty)}",
                                                  api_visibility="private")
    for box in boxes:
        box.change(None, js=STALE, api_visibility="private")
    return Sample(fields, boxes, folder)
