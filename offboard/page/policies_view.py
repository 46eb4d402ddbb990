"""``/policies``: what was sent out, how good it was, and the way back to an older one."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from offboard.page.facts import Level, sentence
from offboard.page.frame import Desk, frame
from offboard.page.history import Policy, history, pin_question
from offboard.page.parts import Chip, box, empty, heading
from offboard.page.run_files import Run
from offboard.policy_pin import pin_policy, read_pin, unpin_policy
from protocol.errors import WombetError

SHOWN_MAX = 30


def build(desk: Desk) -> None:
    """The page."""
    with frame(desk, "/policies", "Policies") as shell:
        heading(
            "Policies",
            "A policy decides what the motors do. Each one that was sent out has a number. "
            "Robots check it, try it, and go back by themselves if it is far worse. "
            "You can send them back, too. Arrows lead from the policy before to this one; "
            "the expected return is what the adapted model imagines.",
        )
        shell.follow(_Pinned(desk).show)
        shell.follow(_History(desk).show)


class _Pinned:
    """What is wanted, and the way out of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with box(), ui.element("div").classes("row-top"):
            self._text = ui.label().classes("grow")
            self._unpin = ui.button("Let newer policies out", on_click=self._released)
            self._unpin.props("outline no-caps")

    def show(self, run: Run, now_s: float) -> None:
        """Show what is pinned."""
        wanted = _wanted(self._desk)
        in_force = run.status.pinned if run.status is not None else 0
        if wanted == 0:
            text = "No policy is pinned: robots get each better policy as soon as it is learned."
        elif run.status is not None and run.status.pin_trouble:
            text = sentence(run.status.pin_trouble)
        elif wanted != in_force:
            text = f"Policy {wanted} is asked for; the server takes it up in a moment."
        else:
            text = f"Robots stay with policy {wanted}, which is pinned. Nothing newer goes out."
        self._text.set_text(text)
        self._unpin.set_visibility(wanted != 0)

    def _released(self) -> None:
        _try(lambda: unpin_policy(self._desk.path), "Newer policies go out again.")


class _History:
    """The list, newest first; built anew when something in it has changed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._place = ui.element("div").classes("grid")
        self._more = ui.label().classes("soft")
        self._shown: tuple[list[Policy], bool] | None = None

    def show(self, run: Run, now_s: float) -> None:
        """Show the policies of ``run``."""
        policies, runs = history(run), not run.finished
        if self._shown == (policies, runs):
            return
        self._shown = policies, runs
        self._place.clear()
        with self._place:
            if not policies:
                empty(
                    "No policy was sent out yet.", "The first one goes out when the server starts."
                )
            for policy in policies[:SHOWN_MAX]:
                self._tile(policy, policies[0].version, runs)
        hidden = len(policies) - SHOWN_MAX
        self._more.set_text(f"and {hidden} older ones" if hidden > 0 else "")

    def _tile(self, policy: Policy, newest: int, runs: bool) -> None:
        with box():
            with ui.element("div").classes("row-top"):
                ui.label(f"Policy {policy.version}").classes("name grow")
                for text, level in _badges(policy):
                    Chip().show(text, level)
            ui.label(sentence(policy.summary)).classes("soft")
            for change in policy.changes:
                with ui.element("div").classes("row-top fact"):
                    ui.label(change.label).classes("soft grow")
                    ui.label(change.text).classes(f"value {change.level.value}")
            for outcome in policy.outcomes:
                ui.label(outcome).classes("soft")
            if not policy.pinned:
                self._button(policy, newest, runs)

    def _button(self, policy: Policy, newest: int, runs: bool) -> None:
        words = "Stay with this one" if policy.newest else "Go back to this one"
        button = ui.button(words, on_click=lambda: self._ask(policy, newest))
        button.props(
            f'outline no-caps dense padding="4px 12px" aria-label="{words}: {policy.version}"'
        )
        button.style("align-self:flex-start")
        if not runs:
            button.disable()
            button.tooltip("The server has ended")

    def _ask(self, policy: Policy, newest: int) -> None:
        with ui.dialog() as dialog, ui.card().style("max-width:460px;gap:12px"):
            ui.label(f"Pin policy {policy.version}?").classes("name")
            ui.label(pin_question(policy.version, newest))
            with ui.row().style("align-self:flex-end"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps")
                ui.button("Pin it", on_click=lambda: self._pin(policy, dialog)).props("no-caps")
        dialog.open()

    def _pin(self, policy: Policy, dialog: ui.dialog) -> None:
        dialog.close()
        _try(
            lambda: pin_policy(self._desk.path, policy.version),
            f"Robots are sent back to policy {policy.version}.",
        )


def _badges(policy: Policy) -> list[tuple[str, Level]]:
    found = [("pinned", Level.LOOK)] if policy.pinned else []
    found += [("newest", Level.GOOD)] if policy.newest else []
    return [*found, ("exploring" if policy.exploring else "not exploring", Level.PLAIN)]


def _wanted(desk: Desk) -> int:
    try:
        return read_pin(desk.path)
    except WombetError:
        return 0


def _try(act: Callable[[], None], done: str) -> None:
    """Do it, and say what came of it."""
    try:
        act()
    except WombetError as error:
        ui.notify(str(error), type="negative", multi_line=True)
    else:
        ui.notify(done, type="positive")
