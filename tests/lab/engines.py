"""With which engines a test of rules runs: with two of them each time, with the third in scripts/variants."""

from __future__ import annotations

import pytest

from crossnet.netfilter import Engine

_VARIANT = pytest.mark.variants

# The rules of both kinds of iptables are the same, and its commands are, but for their names.
WITH_IPTABLES_NFT = (
    Engine.NFTABLES,
    Engine.IPTABLES_NFT,
    pytest.param(Engine.IPTABLES_LEGACY, marks=_VARIANT),
)
WITH_IPTABLES_LEGACY = (
    Engine.NFTABLES,
    pytest.param(Engine.IPTABLES_NFT, marks=_VARIANT),
    Engine.IPTABLES_LEGACY,
)
