"""Of a spec only some of its crossings: by their names, by a host of theirs, or both."""

from __future__ import annotations

import pytest

from crossnet.errors import CrossnetError
from crossnet.specfile import parse

SPEC = parse(
    """\
crossnet: 1
hosts: {app: {lab: app}, web: {lab: web}, gateway: {lab: gateway}, second: {lab: second}}
crossings:
  business: {from: [app, web], via: gateway, to: 10.0.44.0/24}
  storage: {from: web, via: second, to: 10.0.45.0/24}
""",
    "my.yaml",
)


@pytest.mark.parametrize(
    ("crossings", "hosts", "left", "with_hosts"),
    [
        (["storage"], [], ["storage"], ["web", "second"]),
        ([], ["app"], ["business"], ["app", "web", "gateway"]),
        ([], ["second", "app"], ["business", "storage"], ["app", "web", "gateway", "second"]),
        (["storage"], ["web"], ["storage"], ["web", "second"]),
    ],
)
def test_what_is_chosen(
    crossings: list[str], hosts: list[str], left: list[str], with_hosts: list[str]
) -> None:
    found = SPEC.only(crossings, hosts)
    assert [one.name for one in found.crossings] == left
    assert [one.name for one in found.hosts] == with_hosts
    assert not found.is_whole  # what else stands under its name on a host stays there


def test_nothing_chosen_is_the_whole() -> None:
    assert SPEC.only() is SPEC


@pytest.mark.parametrize(
    ("crossings", "hosts", "said"),
    [
        (["busines"], [], "my.yaml has no crossing 'busines'; it has: business, storage"),
        ([], ["gw"], "my.yaml has no host 'gw'; it has: app, web, gateway, second"),
        (["storage"], ["app"], "storage of my.yaml changes nothing on app"),
    ],
)
def test_a_choice_of_nothing_is_refused(crossings: list[str], hosts: list[str], said: str) -> None:
    with pytest.raises(CrossnetError, match=said):
        SPEC.only(crossings, hosts)
