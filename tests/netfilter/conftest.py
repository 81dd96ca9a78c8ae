"""What the tests of firewalls share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from lacking import lacking
from netfilter.wire import LINKS, Host


@pytest.fixture
def host() -> Iterator[Host]:
    missing = [tool for tool in ("unshare", "nsenter", "nft", "ip") if shutil.which(tool) is None]
    if missing:
        lacking(f"not on this machine: {', '.join(missing)}")
    made = Host()
    try:
        made.run("sh", "-c", LINKS)
        yield made
    finally:
        made.close()
