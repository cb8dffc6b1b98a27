"""Attribution drawn on what a person gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from sensorium.evaluation.attribution_marks import HATCH
from sensorium.serving.page.rendering import error_line, rendered
from sensorium.serving.service import Service

ABOUT = ("How much each place moved the answer, by integrated gradients from neutral tokens. What is drawn adds up to "
         "the difference. A place stands for the encoder's token there, which has also seen what is around it.")


def attribution_part(service: Service, target: str | None, row: Callable[[], Mapping[str, Any]]) -> Markup:
    """The card of one sample with its attribution; or one line that says why there is none.

    Args:
        service: what explains.
        target: what is explained; the first target where None.
        row: reads the sample, and may raise.
    """
    try:
        from sensorium.evaluation.attribution_cards import attribution_cards

        chosen = next(one for one in service.schema.targets if target is None or one.name == target)
        found = service.explain([row()], target=chosen.name)
        told = [one for one in found.attributions if one is not None]
        cards = attribution_cards(found.samples, chosen, told)
        return rendered("attribution.html.jinja", {"cards": cards, "about": ABOUT, "hatch": HATCH})
    except Exception as error:
        return error_line(error)
