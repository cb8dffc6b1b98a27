"""Charts for the report: SVG that takes its colours from the page, so that it is readable in dark mode and in print.

Matplotlib draws with placeholder colours, which are then replaced by `currentColor` and the page's CSS variables.
Words that a user chose (names of modalities and classes) never enter a chart: legends are HTML.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sensorium.metrics.bootstrap import Estimate
from sensorium.metrics.classification import ECE_BINS
from sensorium.metrics.proportion import wilson
from sensorium.metrics.robustness import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Svg = str

INK, RULE, SHADE = "#0000a0", "#0000b0", "#0000c0"
SERIES = ("#000001", "#000002", "#000003", "#000004", "#000005", "#000006")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1)), (0, (8, 3)))
DASH_ARRAYS = ("none", "8 3", "2.5 2.5", "9 2.5 2.5 2.5", "5 1.5", "12 5")
MARKERS = ("o", "s", "^", "D", "v", "P")
MOST_POINTS = 1500
NO_BREAK = "\u00a0"
MOST_MARKERS = 25


@dataclass(frozen=True)
class Bar:
    """A signed bar: where it starts, its width and the interval's ends, in percent of the axis."""

    name: str
    value: Estimate
    words: str
    start: float
    width: float
    low: float
    high: float


class Axis:
    """A horizontal scale: numbers to percent of its length.

    Args:
        values: what must fit; those that are not finite are left out.

    Example:
        >>> axis = Axis([0.0, 1.0])
        >>> axis.at(1.0) - axis.at(0.0) > 50
        True
    """

    def __init__(self, values: Sequence[float]) -> None:
        known = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
        spread = (max(known) - min(known)) or abs(known[0]) or 1.0
        self.low, self.high = min(known) - 0.04 * spread, max(known) + 0.04 * spread

    def at(self, value: float) -> float:
        """Percent of the length; 0 and 100 are its ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100.0 * min(1.0, max(0.0, share)), 2)

    def ticks(self, most: int = 4) -> list[tuple[float, str]]:
        """Round numbers on the scale: (percent, words)."""
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        return [(self.at(value), f"{value:g}".replace("-", "−")) for value in np.round(found, 10).tolist()
                if self.low <= value <= self.high]


def bars(values: Mapping[str, Estimate], axis: Axis) -> list[Bar]:
    """A bar from zero for every named value."""
    drawn = []
    for name, one in values.items():
        ends = sorted((axis.at(0.0), axis.at(one.value)))
        words = f"{one.value:+.2f}".replace("-", "−") if abs(one.value) < 10 else signed(one.value)
        drawn.append(Bar(name, one, words, ends[0], round(ends[1] - ends[0], 2), axis.at(known(one.low, one.value)),
                         axis.at(known(one.high, one.value))))
    return drawn


def series_look(number: int) -> tuple[int, int]:
    """The colour and the dash of a series: never the same pair for the first 36, never colour alone."""
    return number % len(SERIES), (number + number // len(SERIES)) % len(DASHES)


def loss_curves(history: Sequence[Mapping[str, Any]], best_epoch: float | None) -> Svg:
    """Training (series 0) and validation loss (series 1) per epoch, the chosen step marked."""
    figure, axes = _figure(5.2, 2.9)
    epochs = [entry["epoch"] for entry in history]
    for number, key in enumerate(("training_loss", "validation_loss")):
        _line(axes, epochs, [_number(entry.get(key)) for entry in history], number)
    _finish_curves(axes, best_epoch, "loss")
    return _svg(figure, "loss", "training loss and validation loss per epoch")


def score_curves(
    history: Sequence[Mapping[str, Any]], target: str, subsets: Sequence[str], best_epoch: float | None, *, word: str,
    prefix: str,
) -> Svg:
    """The validation score of some subsets per epoch, one series each, in their order."""
    figure, axes = _figure(5.2, 2.9)
    epochs = [entry["epoch"] for entry in history]
    for number, subset in enumerate(subsets):
        scores = [_number(entry.get("scores", {}).get(target, {}).get(subset)) for entry in history]
        _line(axes, epochs, scores, number)
    _finish_curves(axes, best_epoch, word)
    return _svg(figure, prefix, "validation score of all modalities and of each alone, per epoch")


def bands(
    curves: Sequence[Curve], *, xlabel: str, word: str, limits: tuple[float, float], levels: Sequence[float] = (),
    label: str, prefix: str,
) -> Svg:
    """Scores at growing severities, a series each with its interval as a band; `levels` are thin dotted lines."""
    figure, axes = _figure(5.2, 3.1)
    for number, curve in enumerate(curves):
        colour, _ = series_look(number)
        low, high = zip(*((_number(one.low), _number(one.high)) for one in curve.scores), strict=True)
        axes.fill_between(curve.severities, low, high, color=SERIES[colour], alpha=0.16, linewidth=0)
        _line(axes, curve.severities, [_number(one.value) for one in curve.scores], number)
    for number, level in enumerate(levels):
        colour, _ = series_look(number)
        axes.axhline(level, color=SERIES[colour], linewidth=1.3, linestyle=(0, (1, 2.5)))
    axes.set(xlabel=xlabel, ylabel=word, ylim=limits)
    axes.margins(x=0.03)
    return _svg(figure, prefix, label)


def alone_curves(
    history: Sequence[Mapping[str, Any]], names: Sequence[str], best_epoch: float | None, *, prefix: str,
) -> Svg:
    """How probable each modality alone makes the truth of training rows, per epoch: series 1, 2 …, as in
    `score_curves` after all modalities together."""
    figure, axes = _figure(5.2, 2.9)
    epochs = [entry["epoch"] for entry in history]
    for number, name in enumerate(names, start=1):
        _line(axes, epochs, [_number((entry.get("alone") or {}).get(name)) for entry in history], number)
    _finish_curves(axes, best_epoch, "probability of the truth")
    return _svg(figure, prefix, "probability of the truth on training rows from each modality alone, per epoch")


def reliability(confidence: Floats, right: npt.NDArray[np.bool_], *, prefix: str) -> Svg:
    """How often predictions are right against how sure they were, in the bins of the ECE; below, how many there are."""
    figure, axes = _figure(4.6, 4.4, rows=(3, 1))
    upper, lower = axes
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.6)
    for number in np.flatnonzero(counts).tolist():
        mine = bins == number
        found = wilson(int(right[mine].sum()), int(mine.sum()))
        stated = float(confidence[mine].mean())
        upper.plot([stated, stated], [found.low, found.high], color=SERIES[0], linewidth=1.5, alpha=0.55)
        upper.plot([stated], [found.value], marker="o", color=SERIES[0], markersize=6)
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="share that is right")
    upper.tick_params(labelbottom=False)
    lower.bar((np.arange(ECE_BINS) + 0.5) / ECE_BINS, counts, width=0.85 / ECE_BINS, color=SERIES[0], alpha=0.6)
    lower.set(xlim=(0, 1), xlabel="stated probability", ylabel="rows")
    lower.locator_params(axis="y", nbins=2, integer=True)
    return _svg(figure, prefix, "reliability diagram: share of right predictions against stated probability")


def scatter(truth: Floats, predicted: Floats, *, prefix: str) -> Svg:
    """Predicted against true numbers, at most 1,500 of them, with the diagonal of perfect predictions."""
    figure, axes = _figure(4.6, 4.4)
    step = max(1, -(-len(truth) // MOST_POINTS))
    shown, guessed = truth[::step], predicted[::step]
    ends = [float(min(shown.min(), guessed.min())), float(max(shown.max(), guessed.max()))]
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (4, 3)), alpha=0.7)
    axes.plot(shown, guessed, linestyle="none", marker="o", markersize=3.5, color=SERIES[0], alpha=0.45,
              markeredgewidth=0)
    axes.set(xlabel="true", ylabel="predicted")
    return _svg(figure, prefix, "predicted against true numbers")


# ---- from matplotlib to the page ----

def _figure(width: float, height: float, *, rows: tuple[int, ...] = ()) -> tuple[Figure, Any]:
    """A figure of its own, unknown to pyplot, and its axes (several where `rows` gives their heights)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if not rows:
        axes = figure.subplots()
        _style(axes)
        return figure, axes
    several = figure.subplots(len(rows), 1, height_ratios=rows)
    for axes in several:
        _style(axes)
    return figure, several


def _style(axes: Axes) -> None:
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(colors=RULE, labelcolor=INK, labelsize=10, length=3)
    axes.grid(color=RULE, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=10.5)


def _line(axes: Axes, epochs: Sequence[float], values: Sequence[float], number: int) -> None:
    colour, dash = series_look(number)
    marker = MARKERS[dash] if len(epochs) <= MOST_MARKERS else ""
    axes.plot(epochs, values, color=SERIES[colour], linestyle=DASHES[dash], marker=marker, markersize=4.5,
              linewidth=1.8)


def _finish_curves(axes: Axes, best_epoch: float | None, word: str) -> None:
    axes.set(xlabel="epoch", ylabel=word)
    axes.locator_params(axis="x", integer=True, nbins=8)
    axes.margins(x=0.06, y=0.12)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), alpha=0.8)
        left, right = axes.get_xlim()
        late = best_epoch > (left + right) / 2
        axes.annotate("chosen", (best_epoch, 1.0), xycoords=("data", "axes fraction"), textcoords="offset points",
                      xytext=(-4 if late else 4, -9), ha="right" if late else "left", fontsize=10, color=INK)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _svg(figure: Figure, prefix: str, label: str) -> Svg:
    """The figure as an element of an HTML page: no header, no addresses, ids of its own, the page's colours."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sensorium"}):
        figure.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*|<style.*?</style>|font-family: [^;\"]*;? ?|(?<=<g) id=\"[^\"]*\"", "", text,
                  flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "matplotlib wrote an SVG without a viewBox"
    text = f'<svg class="chart" role="img" aria-label="{label}" {box[0]}>' + text[text.index(">") + 1 :]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text).replace("url(#", f"url(#{prefix}-")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for number, colour in enumerate(SERIES):
        text = text.replace(colour, f"var(--series-{number})")
    return text.replace(INK, "currentColor").replace(RULE, "var(--rule)").strip()


# ---- numbers in words ----

def number_words(value: float) -> str:
    """A number as a person writes it: three decimals or so, a real minus sign.

    Example:
        >>> number_words(0.95812), number_words(-1234.6), number_words(float("nan"))
        ('0.958', '−1,235', '—')
    """
    size = abs(value)
    if not np.isfinite(value):
        return "—"
    if 1e-15 < size < 0.001:
        return f"{value:.2g}".replace("-", "−")
    decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:,.{decimals}f}".replace("-", "−")


def percent_words(share: float) -> str:
    """A share as percent; its sign is never torn off at the end of a line.

    Example:
        >>> [percent_words(share).replace(NO_BREAK, " ") for share in (0.958, 1.0, 0.0001)]
        ['95.8 %', '100 %', 'under 0.1 %']
    """
    if not np.isfinite(share):
        return "—"
    if 0 < share < 0.001:
        return f"under 0.1{NO_BREAK}%"
    if 0.999 < share < 1:
        return f"over 99.9{NO_BREAK}%"
    return f"{100 * share:.1f}".removesuffix(".0").replace("-", "−") + f"{NO_BREAK}%"


def signed(value: float) -> str:
    """A number with its sign."""
    return ("+" if value > 0 else "") + number_words(value)


def known(value: float, otherwise: float) -> float:
    """A number, or another one where it is not finite."""
    return value if np.isfinite(value) else otherwise
