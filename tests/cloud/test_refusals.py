"""What an operator reads when a cloud says no: on which port, what was tried, what the cloud said, what to do next.

Each row of what Neutron answers is asked of a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloud.fixtures import GROUP, Seed
from cloud.front import clouds
from crossnet.errors import CloudError
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import AddressPair, GroupRule
from crossnet.values import Family, network

pytestmark = [pytest.mark.openstack, GROUP]

Asking = Callable[..., Any]
Question = Callable[[Cloud], Coroutine[Any, Any, object]]
NOBODY = "11111111-2222-3333-4444-555555555555"
RULE = GroupRule("ingress", Family.V4, "tcp", (443, 443), network("10.0.43.15"))


def refusal(asking: Asking, user: str, question: Question) -> CloudError:
    with pytest.raises(CloudError) as raised:
        asking(user, question)
    assert "secret" not in str(raised.value)
    assert raised.value.exit_code == 1
    return raised.value


def pairs(*networks: str) -> list[AddressPair]:
    return [AddressPair(network(each), "", each) for each in networks]


def changing(seed: Seed, name: str = "B-eth1", **changed: Any) -> Question:
    """The port is read first, so that it is known by its name."""

    async def change(cloud: Cloud) -> object:
        port = await cloud.port(seed.ports[name])
        return await cloud.change_port(port.id, revision=port.revision, **changed)

    return change


# ---- of ports ------------------------------------------------------------------------------------


def test_a_port_that_is_not_there(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "member", lambda cloud: cloud.port(NOBODY))
    assert (told.status, told.kind, told.host) == (404, "PortNotFound", "cloud member")
    assert str(told) == (
        f"cloud member: asked for port {NOBODY}: 404 PortNotFound: Port {NOBODY} could not be found.\n"
        "  It was removed, or it belongs to another project, of which this user sees nothing: `openstack port show` "
        "with credentials of its project tells. If it is gone, make a new plan."
    )


def test_a_port_that_was_removed_meanwhile(seed: Seed, asking: Asking) -> None:
    async def change(cloud: Cloud) -> None:
        port = await cloud.port(seed.ports["B-eth1"])
        seed.ask("DELETE", f"/ports/{port.id}")
        await cloud.change_port(port.id, revision=port.revision, pairs=pairs("10.0.44.0/24"))

    told = refusal(asking, "member", change)
    assert (told.status, told.kind) == (404, "PortNotFound")
    assert told.tried == "tried to set allowed address pairs 10.0.44.0/24 of port B-eth1 (10.0.43.101)"


def test_a_port_of_another_project(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "stranger", lambda cloud: cloud.port(seed.ports["B-eth1"]))
    assert (told.status, told.kind) == (404, "PortNotFound")
    assert "belongs to another project" in told.todo
    found = asking("stranger", lambda cloud: cloud.look(seed.hosts()))
    assert found["A"].ports == {}
    assert "no port that this user sees has its hardware address" in found["A"].unfound["eth0"]


def test_an_id_that_is_none_is_never_part_of_a_url(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "member", lambda cloud: cloud.port("../networks"))
    assert told.kind == "NotUnderstood"


# ---- of what may be set together -----------------------------------------------------------------


def test_port_security_off_beside_groups(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "member", changing(seed, secured=False))
    assert (told.status, told.kind) == (409, "PortSecurityPortHasSecurityGroup")
    assert told.tried == "tried to set port security off of port B-eth1 (10.0.43.101)"


def test_port_security_off_beside_pairs(seed: Seed, asking: Asking) -> None:
    asking("member", changing(seed, pairs=pairs("10.0.44.0/24")))
    told = refusal(asking, "member", changing(seed, secured=False, groups=[]))
    assert (told.status, told.kind) == (409, "AddressPairAndPortSecurityRequired")
    assert "Its port security is off, or was to be" in told.todo


def test_what_needs_port_security_where_it_is_off(seed: Seed, asking: Asking) -> None:
    port = asking("member", changing(seed, secured=False, groups=[], pairs=[]))
    assert (port.secured, port.groups, port.pairs) == (False, (), ())
    told = refusal(asking, "member", changing(seed, pairs=pairs("10.0.44.0/24")))
    assert (told.status, told.kind) == (409, "AddressPairAndPortSecurityRequired")
    group = seed.make_group("some")
    told = refusal(asking, "member", changing(seed, groups=[group]))
    assert (told.status, told.kind) == (400, "PortSecurityAndIPRequiredForSecurityGroups")
    assert "Its port security is off, or was to be" in told.todo


def test_all_of_it_is_written_back_in_one_request(seed: Seed, asking: Asking) -> None:
    """Host bits, and a hardware address that is not the port's own: as they were, in the API's own words."""
    other = [{"ip_address": "10.0.45.7/24"}, {"ip_address": "10.0.46.1", "mac_address": "02:00:00:00:00:01"}]
    seed.change("B-eth1", allowed_address_pairs=other)
    before, port = seed.document("B-eth1"), seed.port("B-eth1")
    asking("member", changing(seed, secured=False, groups=[], pairs=[]))
    asking("member", changing(seed, secured=True, groups=port.groups, pairs=port.pairs))
    assert seed.document("B-eth1") == before


def test_more_pairs_than_a_port_takes(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "member", changing(seed, pairs=pairs(*(f"10.9.{n}.0/24" for n in range(11)))))
    assert (told.status, told.kind) == (400, "AllowedAddressPairExhausted")
    assert "exceeds the maximum 10" in told.seen
    assert "Write fewer and larger networks in `to`" in told.todo


@pytest.mark.parametrize(
    ("networks", "kind"),
    [
        (["10.0.44.1", "10.0.44.1"], "DuplicateAddressPairInRequest"),
        (["224.0.0.0/4"], "HTTPBadRequest"),
    ],
)
def test_pairs_that_no_port_takes(seed: Seed, asking: Asking, networks: Sequence[str], kind: str) -> None:
    told = refusal(asking, "member", changing(seed, pairs=pairs(*networks)))
    assert (told.status, told.kind) == (400, kind)


def test_a_group_that_is_not_there(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "member", changing(seed, groups=[NOBODY]))
    assert (told.status, told.kind) == (404, "SecurityGroupNotFound")
    assert told.tried == "tried to set one security group of port B-eth1 (10.0.43.101)"


def test_a_port_that_somebody_else_changed(seed: Seed, asking: Asking) -> None:
    before = seed.port("B-eth1")
    seed.change("B-eth1", description="of somebody else")
    document = seed.document("B-eth1")
    told = refusal(
        asking,
        "member",
        lambda cloud: cloud.change_port(before.id, revision=before.revision, pairs=pairs("10.0.44.0/24")),
    )
    assert (told.status, told.kind) == (412, "RevisionNumberConstraintFailed")
    assert "Somebody else has changed it since it was read. Nothing was changed" in told.todo
    assert seed.document("B-eth1") == document


# ---- of security groups --------------------------------------------------------------------------


def test_a_group_that_ports_are_in(seed: Seed, asking: Asking) -> None:
    group = seed.make_group("some")
    seed.change("A", security_groups=[group])
    told = refusal(asking, "member", lambda cloud: cloud.delete_group(group))
    assert (told.status, told.kind) == (409, "SecurityGroupInUse")
    assert "openstack port list --security-group" in told.todo


def test_a_group_where_the_project_may_have_no_more(seed: Seed, asking: Asking) -> None:
    there = len(seed.ask("GET", f"/security-groups?project_id={seed.project}")["security_groups"])
    seed.ask("PUT", f"/quotas/{seed.project}", {"quota": {"security_group": there}})
    try:
        told = refusal(
            asking, "member", lambda cloud: cloud.make_group("crossnet-x", "mine", seed.project, [RULE])
        )
    finally:
        seed.ask("DELETE", f"/quotas/{seed.project}")
    assert (told.status, told.kind) == (409, "OverQuota")
    assert told.tried == "tried to make the security group crossnet-x"
    assert "openstack quota show" in told.todo


def test_rules_of_which_the_project_may_have_no_more(seed: Seed, asking: Asking) -> None:
    """The group is there by then, half made; to be asked again completes it."""

    def make(cloud: Cloud) -> Coroutine[Any, Any, object]:
        return cloud.make_group("crossnet-x", "mine", seed.project, [RULE])

    rules = seed.ask("GET", f"/security-group-rules?project_id={seed.project}")["security_group_rules"]
    seed.ask("PUT", f"/quotas/{seed.project}", {"quota": {"security_group_rule": len(rules) + 2}})
    try:
        told = refusal(asking, "member", make)
    finally:
        seed.ask("DELETE", f"/quotas/{seed.project}")
    assert (told.status, told.kind) == (409, "OverQuota")
    assert asking("member", make).rules == (RULE,)


def test_a_group_of_the_same_name_that_somebody_else_made(seed: Seed, asking: Asking) -> None:
    group = seed.make_group("crossnet-x", description="of somebody else")
    told = refusal(
        asking, "member", lambda cloud: cloud.make_group("crossnet-x", "mine", seed.project, [RULE])
    )
    assert told.kind == "NotOurs"
    assert f"there is one, {group}, that crossnet cannot take for its own" in told.seen
    rules = seed.ask("GET", f"/security-groups/{group}")["security_group"]["security_group_rules"]
    assert [rule["direction"] for rule in rules] == ["egress", "egress"]


def test_several_groups_of_the_same_name(seed: Seed, asking: Asking) -> None:
    several = sorted(seed.make_group("crossnet-x", description="mine") for _ in range(2))
    told = refusal(
        asking, "member", lambda cloud: cloud.make_group("crossnet-x", "mine", seed.project, [RULE])
    )
    assert told.kind == "SeveralGroups"
    assert all(each in told.seen for each in several)


def test_a_group_that_lets_no_answers_through_beside_one_that_does(seed: Seed, asking: Asking) -> None:
    group = seed.make_group("stateless", stateful=False)
    told = refusal(asking, "member", changing(seed, groups=[*seed.port("B-eth1").groups, group]))
    assert told.status == 409
    assert "stateless" in told.todo


def test_a_role_that_only_reads_makes_no_group(seed: Seed, asking: Asking) -> None:
    told = refusal(
        asking, "reader", lambda cloud: cloud.make_group("crossnet-x", "mine", seed.project, [RULE])
    )
    assert (told.status, told.tried) == (403, "tried to make the security group crossnet-x")
    assert told.todo == (
        "This user's roles in the project are reader, which is not enough to change a security group: use credentials "
        "with the role member."
    )


# ---- of who asks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed", [{"secured": False, "groups": []}, {"pairs": pairs("10.0.44.0/24")}], ids=["off", "pairs"]
)
def test_a_role_that_only_reads(seed: Seed, asking: Asking, changed: dict[str, Any]) -> None:
    told = refusal(asking, "reader", changing(seed, **changed))
    assert (told.status, told.kind) == (403, "PolicyNotAuthorized")
    assert told.todo == (
        "This user's roles in the project are reader, which is not enough to change a port: use credentials with the "
        "role member."
    )


@pytest.mark.parametrize(
    "changed", [{"secured": False, "groups": []}, {"pairs": pairs("10.0.44.0/24")}], ids=["off", "pairs"]
)
def test_a_port_in_a_network_of_another_project(seed: Seed, asking: Asking, changed: dict[str, Any]) -> None:
    shared = seed.make_network("10.0.47.0/24", name="shared", shared=True)
    owner = seed.session("stranger").get_project_id()
    try:
        subnet = {"subnet_id": shared[1], "ip_address": "10.0.47.9"}
        wanted = {"name": "guest", "network_id": shared[0]}
        made = seed.ask("POST", "/ports", {"port": wanted}, user="stranger")["port"]
        assert subnet["subnet_id"] == made["fixed_ips"][0]["subnet_id"]
        seed.ports["guest"] = made["id"]
        told = refusal(asking, "stranger", changing(seed, "guest", **changed))
        assert (told.status, told.kind) == (403, "PolicyNotAuthorized")
        assert told.todo == (
            f"The port belongs to project {owner}, its network shared to {seed.project}: then only an administrator "
            "may change what the port lets through. Ask one, or use `port-security: leave`."
        )
        asking("lab", changing(seed, "guest", **changed))  # an administrator may
    finally:
        seed.ask("DELETE", f"/ports/{seed.ports['guest']}")
        seed.ask("DELETE", f"/networks/{shared[0]}")


def test_a_wrong_password(seed: Seed, asking: Asking) -> None:
    told = refusal(asking, "badpw", lambda cloud: cloud.look(seed.hosts()))
    assert (told.status, told.kind) == (401, "Unauthorized")
    assert "The credentials are not accepted" in told.todo
    assert "wrong" not in str(told)


@pytest.fixture
def written(
    seed: Seed, asking: Asking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """`written(mine={…})` is the clouds.yaml that is asked with from then on."""

    def write(**entries: object) -> None:
        path = tmp_path / "clouds.yaml"
        path.write_text(clouds(**entries))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    return write


def anew(name: str, question: Question) -> CloudError:
    """What a cloud says that nobody has asked before."""
    with pytest.raises(CloudError) as raised:
        asyncio.run(question(Cloud(name)))
    return raised.value


@pytest.mark.parametrize("way", ["bare", "asked"])
def test_a_token_that_is_over(seed: Seed, written: Callable[..., None], way: str) -> None:
    token = seed.served.session("member").get_token() or ""
    endpoint = {"endpoint": seed.served.neutron, "token": token}
    written(
        bare={"auth_type": "admin_token", "auth": endpoint},
        asked={"auth_type": "v3token", "auth": {"auth_url": seed.served.keystone, "token": token}},
    )
    revoke(seed, token)
    told = anew(way, lambda cloud: cloud.port(seed.ports["B-eth1"]))
    assert (told.status, told.kind) == (401 if way == "bare" else 404, "Unauthorized")
    assert "get a new token" in told.todo
    assert token not in str(told)


def test_a_token_that_is_over_is_got_anew_where_that_can_be(seed: Seed, asking: Asking) -> None:
    async def ask() -> str:
        cloud = Cloud("member")
        session, _ = await asyncio.to_thread(cloud._access._opened)
        before = await asyncio.to_thread(session.get_token) or ""
        await asyncio.to_thread(revoke, seed, before)
        port = await cloud.port(seed.ports["B-eth1"])
        assert await asyncio.to_thread(session.get_token) != before
        return port.name

    assert asyncio.run(ask()) == "B-eth1"


def revoke(seed: Seed, token: str) -> None:
    said = seed.session().delete(f"{seed.served.keystone}/auth/tokens", headers={"X-Subject-Token": token})
    assert said.status_code == 204
