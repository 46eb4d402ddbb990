"""Progress for what lasts longer than two seconds: a live bar, or lines now and then on a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Update = Callable[[int, str], None]
"""Takes the units done and a few words about the state; cheap enough for an inner loop."""

LINES_ON_A_PIPE = 10


@contextmanager
def bar(title: str, total: int) -> Iterator[Update]:
    """Progress over ``total`` units on stderr; yields the function that moves it."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _live(console) as progress:
            task = progress.add_task(title, total=total, note="")
            every = max(1, total // 200)

            def move(done: int, note: str) -> None:
                if done % every == 0 or done == total:
                    progress.update(task, completed=done, note=note)

            yield move
    else:
        every = max(1, total // LINES_ON_A_PIPE)

        def tell(done: int, note: str) -> None:
            if done % every == 0:
                console.print(
                    f"{title} {done}/{total} {note}", highlight=False, markup=False, soft_wrap=True
                )

        yield tell


def _live(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )
