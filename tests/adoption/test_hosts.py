"""Hosts in words of a command line."""

from __future__ import annotations

import pytest

from crossnet.adoption.hosts import hosts_of
from crossnet.errors import CrossnetError
from crossnet.spec import HostSpec


@pytest.mark.parametrize(
    ("word", "host"),
    [
        ("root@10.0.43.15", HostSpec("client", ssh="root@10.0.43.15")),
        ("ops@web.example.org", HostSpec("web.example.org", ssh="ops@web.example.org", become=True)),
        ("ssh://root@web:2222", HostSpec("web", ssh="ssh://root@web:2222")),
        ("web", HostSpec("web", ssh="web", become=True)),
        ("local", HostSpec("local", local=True, become=True)),
        ("netns:blue", HostSpec("blue", netns="blue", become=True)),
        ("lab:seed/app", HostSpec("app", lab="seed/app")),
        ("lab:app", HostSpec("app", lab="app")),
    ],
)
def test_a_word_is_one_way_to_a_host(word: str, host: HostSpec) -> None:
    assert hosts_of([word], ["gateway"], become=True)[0] == (host,)


def test_hosts_of_one_name_are_told_apart() -> None:
    clients, gateways = hosts_of(["root@10.0.0.1", "root@10.0.0.2"], ["a@web", "b@web"], become=False)
    assert [one.name for one in (*clients, *gateways)] == ["client", "client-2", "web", "web-2"]


def test_a_word_that_stands_twice_is_one_host() -> None:
    clients, _ = hosts_of(["web", "web"], ["gateway"], become=False)
    assert len(clients) == 1


def test_nobody_is_its_own_gateway() -> None:
    with pytest.raises(CrossnetError, match="its own gateway"):
        hosts_of(["web"], ["web"], become=False)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(CrossnetError) as caught:
        hosts_of(["root:secret@web"], ["gateway"], become=False)
    assert "secret" not in str(caught.value)
