"""The rules alone: for which engine they are, and what is said where it is the other one."""

from __future__ import annotations

import pytest

from crossnet.export import ExportError, Format, export
from export.plans import ON_LEGACY, plan

SETS = "business: {from: [app, 10.0.43.64/28], via: gateway, to: 10.0.44.0/24}"


def test_nft_is_one_file_for_each_gateway() -> None:
    (document,) = export(plan(), Format.NFT)
    assert (document.name, document.host) == ("gateway.nft", "gateway")
    assert "#     nft -f gateway.nft\n" in document.text
    assert "add table ip crossnet\ndelete table ip crossnet\ntable ip crossnet {\n" in document.text


def test_iptables_are_sets_chains_and_jumps_in_the_order_of_loading() -> None:
    documents = export(plan(SETS, world=ON_LEGACY), Format.IPTABLES)
    assert [one.name for one in documents] == [
        "gateway.ipset-4.rules",
        "gateway.iptables-4.rules",
        "gateway.jumps.sh",
    ]
    loads = [line for line in documents[0].text.splitlines() if line.startswith("#     ")]
    assert loads == [
        "#     ipset restore <gateway.ipset-4.rules",
        "#     iptables-restore -w --noflush <gateway.iptables-4.rules",
        "#     sh gateway.jumps.sh",
    ]


@pytest.mark.parametrize(
    ("world", "form", "told"),
    [
        (ON_LEGACY, Format.NFT, ["--format iptables", "`firewall: nftables` in crossing business"]),
        (None, Format.IPTABLES, ["--format nft", "`firewall: iptables` in crossing business"]),
    ],
)
def test_the_other_engine_is_said_with_what_to_write(
    world: str | None, form: Format, told: list[str]
) -> None:
    made = plan(world=world) if world else plan()
    with pytest.raises(ExportError) as caught:
        export(made, form)
    reason = made.engines["gateway"].reason
    assert all(word in str(caught.value) for word in (*told, "gateway: its rules are for", reason))


def test_a_host_that_is_no_gateway_has_no_rules() -> None:
    with pytest.raises(ExportError, match=r"app is not a gateway.*\n.*: gateway\."):
        export(plan(), Format.NFT, host="app")
