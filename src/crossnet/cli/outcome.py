"""What was done decides the exit code, whatever becomes of the words about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossnet.events import Event, Phase


class Outcome:
    """How far the hosts have come in this run, by the events of the library."""

    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.code: int | None = None

    def see(self, event: Event) -> None:
        if event.phase is not None:
            self.phase = event.phase

    def settle(self, code: int) -> None:
        """From now on this is the exit code; that a later part could not be done takes nothing back."""
        if self.code is None or code != 1:
            self.code = code

    def truly(self, code: int) -> int:
        """The code of what ended with this one: 1 means that nothing was changed, so what nobody foresaw is none."""
        from crossnet.events import Phase

        unforeseen = {Phase.CHANGING: 4, Phase.BACK: 4, Phase.CONFIRMED: 6}
        return unforeseen.get(self.phase, 1) if code == 1 and self.phase is not None else code


outcome = Outcome()
