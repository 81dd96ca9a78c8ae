"""What a participant asks of each kind that a cloud holds."""

from __future__ import annotations

from typing import Protocol, TypeVar

R = TypeVar("R", contravariant=True)


class Requests(Protocol[R]):
    """The requests for one kind; each of these may be asked twice, because an answer may be lost."""

    async def see(self, one: R) -> None:
        """Remember as what it is seen, so that nobody's change after that is overwritten."""

    async def bring(self, have: R | None, want: R | None, *, as_seen: bool) -> None:
        """Make it what is wanted in place of what crossnet had there; `as_seen`: or refuse, where others changed it.

        CloudError with status 412 then.
        """
