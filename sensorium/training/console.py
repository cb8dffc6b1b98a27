"""What a person sees while a model is trained: lines and a progress bar, on standard error."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

LINE_SECONDS = 10.0
Bar = Callable[[int, int, str], None]
"""Called with (done, in all, text)."""


class Console(ABC):
    """Where training speaks."""

    @abstractmethod
    def say(self, line: str) -> None:
        """A line."""

    @abstractmethod
    def expect(self, minutes: float) -> None:
        """A training is about to begin that takes so many minutes at most."""

    @abstractmethod
    def bar(self, what: str) -> AbstractContextManager[Bar]:
        """A progress bar as a context."""


class Quiet(Console):
    """Says nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def expect(self, minutes: float) -> None:
        """Nothing."""

    @contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """A bar that nobody sees."""
        yield lambda done, total, text: None


class Terminal(Console):
    """Speaks on standard error, with a live bar where that is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole

        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """A line."""
        self._rich.print(line, markup=False)

    def expect(self, minutes: float) -> None:
        """Nothing: the line on the model says it."""

    @contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """A bar with the time left; on a pipe a line every ten seconds instead."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        if not self._rich.is_terminal:
            yield self._now_and_then(what)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
                   TextColumn("{task.fields[text]}"), TimeRemainingColumn())
        with Progress(*columns, console=self._rich, transient=True) as progress:
            task = progress.add_task(what, total=None, text="")
            yield lambda done, total, text: progress.update(task, completed=done, total=total, text=text)

    def _now_and_then(self, what: str) -> Bar:
        said = [time.monotonic()]

        def update(done: int, total: int, text: str) -> None:
            if time.monotonic() - said[0] >= LINE_SECONDS:
                said[0] = time.monotonic()
                self.say(f"{what}: {done}/{total} {text}")

        return update
