"""`sensorium.align`, one word for two needs: recordings on one clock, or the modalities of a model in one space.

What is given first decides: `align([camera, gps], at=…)` is `sensorium.data.streams.align.align`, `align(model,
method="cca")` is `sensorium.training.align.align_model`. Both have their arguments written out there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any, cast

from sensorium.data.streams.align import align as align_streams
from sensorium.model import Model
from sensorium.training.align import align_model

align = singledispatch(cast(Callable[..., Any], align_streams))
align.register(Model)(align_model)
align.__doc__ = f"""{__doc__}
sensorium.align(model, data=None, *, method="cca", n_components=None, ridge=0.01)

    {align_model.__doc__}
sensorium.align(streams, *, at=None, every=None, events=None, method="nearest", tolerance=None, window=None)

    {align_streams.__doc__}"""
