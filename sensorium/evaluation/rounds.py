"""What a person sees while several models are trained: the first one's lines, then a line each with the time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sensorium.training.console import Bar, Console


class Rounds:
    """Speaks for several trainings: the first one's lines, then a line each with the time left."""

    def __init__(self, console: Console, names: list[str], more: int) -> None:
        self._console, self._names, self._more = console, names, more
        self.seconds: list[float] = []

    @contextmanager
    def next(self) -> Iterator[Console]:
        """The console of the next training."""
        place = len(self.seconds)
        started = time.monotonic()
        yield RoundConsole(self._console, self._names[place], len(self._names) + self._more, quiet=place > 0)
        self.seconds.append(round(time.monotonic() - started, 1))

    def tell(self, words: str) -> None:
        """How the training ended, and about how long the others will take."""
        place = len(self.seconds)
        left = (len(self._names) - place + self._more) * float(np.mean(self.seconds)) / 60.0
        ahead = f"; about {left:.1f} minutes more" if left else ""
        self._console.say(f"{self._names[place - 1]}: {words}; {self.seconds[-1]:.0f} s{ahead}")


class RoundConsole(Console):
    """The console of one training of several."""

    def __init__(self, console: Console, name: str, total: int, *, quiet: bool) -> None:
        self._console, self._name, self._total, self._quiet = console, name, total, quiet
        self._expected = quiet

    def say(self, line: str) -> None:
        """A line of the first training; the others say the same."""
        if not self._quiet:
            self._console.say(line)

    def expect(self, minutes: float) -> None:
        """How long all trainings may take, once."""
        if not self._expected:
            self._console.say(f"{self._total} trainings in all: about {self._total * minutes:.1f} minutes at most")
        self._expected = True

    @contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """A progress bar that says which training it is."""
        with self._console.bar(f"{self._name}, {what}") as bar:
            yield bar
