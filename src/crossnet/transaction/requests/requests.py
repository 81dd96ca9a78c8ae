"""What a participant asks of each kind that a cloud holds."""

from __future__ import annotations

from typing import Protocol, TypeVar

R = TypeVar("R", contravariant=True)


class Requests(Protocol[R]):
    """The requests for one kind; each of these may be asked twice, because an answer may be lost."""

    def steps(self, have: R | None, want: R | None) -> tuple[str, ...]:
        """What is done to have what is wanted in place of what crossnet had there, in this order."""

    async def see(self, one: R) -> int | None:
        """Remember as what it is seen, so that nobody's change after that is overwritten; its revision."""

    async def make(self, step: str, have: R | None, want: R | None) -> None:
        """Do this step, or refuse: CloudError with status 412 where others have changed it since it was seen."""

    async def take_back(self, step: str, have: R | None, want: R | None, seen: int | None) -> None:
        """Have what there was before this step, which may have been done, and that no late request does it after all.

        What others have set stays. `seen` is the revision for which it was asked, None where that is not known.
        """
