"""The story of a crossing, told on the lab: what does not work, why, what crossnet does, and that it goes back."""

from __future__ import annotations

import asyncio
import os

from crossnet.demo.chapters import Say
from crossnet.demo.cloud import InCloud
from crossnet.demo.seed import Seed
from crossnet.lab import build
from crossnet.lab.topology import load
from crossnet.show.paint import Paint, plain


async def tell(say: Say, *, paint: Paint = plain, firewall: str = "auto", openstack: bool = False) -> None:
    """Tell the story, with `openstack` of hosts in a cloud; the lab lives and ends with it, also after Ctrl-C."""
    story = InCloud if openstack else Seed
    say("One crossing, start to end. The hosts are network namespaces of this machine;")
    say("nothing else on it is touched.")
    lab = await build.up(load(story.topology), name=f"demo-{os.getpid()}", lifeline=True)
    try:
        await story(say, paint, lab, firewall).tell()
    finally:
        await asyncio.shield(build.down(lab.name))
    say("\nThe lab is gone. Your own hosts next:  crossnet init")
