"""What a participant asks of each kind that a cloud holds."""

from __future__ import annotations

from typing import Protocol, TypeVar

from crossnet.transaction.believed import Believed

R = TypeVar("R")


class Requests(Protocol[R]):
    """The requests for one kind; each of these may be asked twice, because an answer may be lost."""

    def steps(self, have: R | None, want: R | None) -> tuple[str, ...]:
        """What is done to have what is wanted in place of what crossnet had there, in this order."""

    async def see(self, one: R) -> int | None:
        """Remember as what it is seen, so that nobody's change after that is overwritten; its revision."""

    async def make(self, step: str, have: R | None, want: R | None) -> None:
        """Do this step, or refuse: CloudError with status 412 where others have changed it since it was seen."""

    async def take_back(self, step: str, have: R | None, want: R | None, seen: int | None) -> tuple[str, ...]:
        """Have what there was before this step, which may have been done, and that no late request does it after all.

        What others have set stays. `seen` is the revision for which it was asked, None where that is not known. What
        could not be put back is told: nothing can be done about it here.
        """

    async def within(
        self, have: R | None, want: R | None, believed: Believed
    ) -> tuple[R | None, R | None, tuple[str, ...]]:
        """Both as far as the journal of a host is believed of them, to be taken back; what is left out is told.

        CloudError where nothing of it is.
        """
