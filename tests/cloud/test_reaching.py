"""A cloud that cannot be reached, or has no time, or is something else: what is told, and what was done by then."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.fixtures import GROUP, Seed
from cloud.front import Breaks, Front, Hangs, Says, clouds, front_of
from crossnet.errors import CloudError
from crossnet.openstack import access, api
from crossnet.openstack.api import Cloud
from crossnet.openstack.ports import AddressPair
from crossnet.values import network

BUSY = Says(429, b"slow down", (("Retry-After", "0"),))
AWAY = Says(503, b"<html>no server is available</html>", (("Retry-After", "0"),))
PAIRS = [AddressPair(network("10.0.44.0/24"), "")]


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (folder / "clouds.yaml").write_text(text)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(folder / "clouds.yaml"))


@pytest.fixture
def front(seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Front]:
    """What stands before the real service for the cloud `behind`, of the user member, who is logged in."""
    with front_of(seed.served.neutron) as standing:
        auth = {"endpoint": standing.url, "token": seed.session("member").get_token()}
        written(tmp_path, monkeypatch, clouds(behind={"auth_type": "admin_token", "auth": auth}))
        yield standing


def told(question: Callable[[Cloud], Coroutine[Any, Any, object]], name: str = "behind") -> CloudError:
    with pytest.raises(CloudError) as raised:
        asyncio.run(question(Cloud(name)))
    return raised.value


def reading(seed: Seed) -> Callable[[Cloud], Coroutine[Any, Any, Any]]:
    return lambda cloud: cloud.port(seed.ports["B-eth1"])


def changing(seed: Seed) -> Callable[[Cloud], Coroutine[Any, Any, Any]]:
    port = seed.port("B-eth1")
    return lambda cloud: cloud.change_port(port.id, revision=port.revision, pairs=PAIRS)


# ---- that it has no time -------------------------------------------------------------------------


@pytest.mark.openstack
@GROUP
def test_what_it_had_no_time_for_is_asked_again(seed: Seed, front: Front) -> None:
    front.says += [BUSY, BUSY]
    assert asyncio.run(changing(seed)(Cloud("behind"))).pairs
    assert [method for method, _ in front.asked] == ["PUT"] * 3
    front.asked.clear()
    front.says += [AWAY, BUSY, AWAY]
    assert asyncio.run(reading(seed)(Cloud("behind"))).name == "B-eth1"
    assert [method for method, _ in front.asked] == ["GET"] * 4


@pytest.mark.openstack
@GROUP
def test_that_it_never_has_time_is_told(seed: Seed, front: Front) -> None:
    front.says += [BUSY] * 9
    error = told(changing(seed))
    assert (error.status, error.is_open) == (429, False)
    assert "This one was not done; try again later" in error.todo
    assert len(front.asked) == 4
    front.says.clear()
    front.asked.clear()
    front.says += [Says(429, b"", (("Retry-After", "3600"),))]
    assert told(reading(seed)).status == 429
    assert len(front.asked) == 1, "an hour is not waited for"


@pytest.mark.openstack
@GROUP
def test_a_change_that_may_have_been_made_is_not_asked_for_again(seed: Seed, front: Front) -> None:
    front.says += [AWAY]
    error = told(changing(seed))
    assert (error.status, error.kind, error.is_open) == (503, "NotJSON", True)
    assert "no server is available" in error.seen
    assert "Whether it was done is not known" in error.todo
    assert len(front.asked) == 1


# ---- that nothing comes back ---------------------------------------------------------------------


@pytest.mark.openstack
@GROUP
def test_no_answer_in_time(seed: Seed, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_SILENCE", 0.3)
    front.says += [Hangs()]
    error = told(changing(seed))
    assert (error.status, error.kind, error.is_open) == (None, "Timeout", True)
    assert "Whether it was done is not known" in error.todo


@pytest.mark.openstack
@GROUP
def test_a_call_ends_however_slowly_it_is_answered(
    seed: Seed, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it holds up whoever asked."""
    monkeypatch.setattr(api, "_CALL", 0.3)
    front.says += [Hangs()]
    error = told(reading(seed))
    assert (error.kind, error.is_open) == ("Timeout", False)


@pytest.mark.openstack
@GROUP
def test_an_answer_that_was_lost(seed: Seed, front: Front) -> None:
    """The change was made all the same."""
    front.says += [Breaks()]
    error = told(changing(seed))
    assert (error.status, error.kind, error.is_open) == (None, "Unreachable", True)
    assert "Whether it was done is not known" in error.todo
    assert [pair.network for pair in seed.port("B-eth1").pairs] == [network("10.0.44.0/24")]


@pytest.mark.openstack
@GROUP
def test_an_endpoint_where_nobody_is(seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = seed.served.entry("member") | {"network_endpoint_override": "http://127.0.0.1:9"}
    written(tmp_path, monkeypatch, clouds(down=entry))
    error = told(changing(seed), "down")
    assert (error.status, error.kind, error.is_open) == (None, "Unreachable", False)
    assert error.seen == "no connection to its endpoint: Connection refused"


def test_an_identity_service_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    auth = {"auth_url": "http://127.0.0.1:9/v3", "username": "me", "password": "hush", "project_name": "p"}
    domains = {"user_domain_id": "default", "project_domain_id": "default"}
    written(tmp_path, monkeypatch, clouds(down={"auth": {**auth, **domains}}))
    error = told(lambda cloud: cloud.port("x"), "down")
    assert (error.kind, error.seen) == ("Unreachable", "no connection to its endpoint: Connection refused")
    assert "hush" not in str(error)


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = {"auth_type": "none", "network_endpoint_override": "http://cloud.invalid:9696"}
    written(tmp_path, monkeypatch, clouds(far=entry))
    error = told(lambda cloud: cloud.port("x"), "far")
    assert (error.kind, error.seen) == ("Unreachable", "the name of its endpoint is not known here")


# ---- that it says something else -----------------------------------------------------------------


@pytest.mark.openstack
@GROUP
@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (Says(200, b"<html>log in first</html>"), "NotJSON"),
        (Says(200, b""), "NotJSON"),
        (Says(200, b"[" * 100_000), "NotJSON"),
        (Says(200, b'{"port": null}'), "NotUnderstood"),
        (Says(200, b'{"port": {"id": "x"}}'), "NotUnderstood"),
        (Says(200, json.dumps({"ports": []}).encode()), "NotUnderstood"),
        (Says(404, b"nothing here"), "NotJSON"),
        (Says(418, b'{"NeutronError": "in words"}'), "NeutronError"),
        (Says(500, b'{"NeutronError": {"type": "HTTPInternalServerError"}}'), "HTTPInternalServerError"),
    ],
)
def test_what_is_no_answer_of_the_service(seed: Seed, front: Front, says: Says, kind: str) -> None:
    front.says += [says]
    error = told(reading(seed))
    assert error.kind == kind
    assert error.tried == f"asked for port {seed.ports['B-eth1']}"
    assert error.todo


@pytest.mark.openstack
@GROUP
def test_an_answer_is_read_to_its_largest_size(
    seed: Seed, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was sent, and as it is when it is unpacked: those that never end too."""
    monkeypatch.setattr(access, "_LARGEST", 1 << 20)
    packed = gzip.compress(bytes(2 << 20))
    front.says += [Says(200, bytes(2 << 20)), Says(200, packed, (("Content-Encoding", "gzip"),))]
    for _ in range(2):
        error = told(reading(seed))
        assert (error.kind, error.is_open) == ("TooLarge", False)
        assert error.seen == "its answer has more than 1 MiB, of which crossnet reads no more"
    front.says += [Says(200, bytes(2 << 20))]
    assert told(changing(seed)).is_open
    assert asyncio.run(reading(seed)(Cloud("behind"))).name == "B-eth1"


@pytest.mark.openstack
@GROUP
@pytest.mark.parametrize(
    "body", ['{"NeutronError": {"type": "Bad", "message": "got %s"}}', "got %s", "x" * 290 + "%s"]
)
@pytest.mark.parametrize("status", [200, 400])
def test_what_repeats_the_token_is_shown_without_it(seed: Seed, front: Front, body: str, status: int) -> None:
    token = seed.session("member").get_token() or ""
    front.says += [Says(status, (body % token).encode())]
    error = told(reading(seed))
    assert token[:12] not in str(error)
    assert body.startswith("x") or (status == 200 and body.startswith("{")) or "got …" in error.seen


@pytest.mark.openstack
@GROUP
@pytest.mark.parametrize(("status", "there"), [(302, "http://127.0.0.2:9/x"), (307, "//other.invalid/x")])
def test_nothing_is_sent_on_to_another_host(seed: Seed, front: Front, status: int, there: str) -> None:
    front.says += [Says(status, b"", (("Location", there),))] * 2
    for ask in (reading(seed), changing(seed)):
        error = told(ask)
        assert (error.kind, error.is_open) == ("SentElsewhere", False)
        assert error.seen.startswith("it sends on to http://")
    assert len(front.asked) == 2
    front.says += [Says(status, b"", (("Location", "/v2.0/ports"),))]
    assert told(reading(seed)).status == status, "nor elsewhere on the same"


@pytest.mark.openstack
@GROUP
def test_what_is_the_matter_with_the_identity_service(
    seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = seed.served.entry("member")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    with front_of(seed.served.keystone.removesuffix("/v3")) as front:

        def said(*says: Says, **auth: object) -> CloudError:
            front.says += says
            left = {key: value for key, value in (entry["auth"] | auth).items() if value is not None}
            left["auth_url"] = f"{front.url}/v3"
            (tmp_path / "clouds.yaml").write_text(clouds(mine=entry | {"auth": left}))
            return told(reading(seed), "mine")

        links = [{"rel": "self", "href": f"{front.url}/v3/"}]
        version = {"version": {"id": "v3.14", "status": "stable", "links": links}}
        as_json = (("Content-Type", "application/json"),)
        through = Says(200, json.dumps(version).encode(), as_json)
        error = said(through, Says(400, b'{"error": {"message": "no domain for secret"}}', as_json))
        assert error.seen == "the identity service said 400 BadRequest: no domain for … (HTTP 400)"
        assert "identity service (Keystone)" in error.todo
        error = said(through, Says(500, b"<html>it broke</html>"))
        assert "the identity service said 500 InternalServerError" in error.seen
        assert "the reason in its log" in error.todo
        error = said(through, Says(302, b"", (("Location", "http://other.invalid/v3/auth/tokens"),)))
        assert error.seen == "it sends on to http://other.invalid"
        front.says.clear()
        error = said(project_name=None, project_domain_id=None)
        assert error.seen == "the login is for no project, and gets no catalogue of services"
        assert "`project_name`" in error.todo


@pytest.mark.openstack
@GROUP
def test_a_group_is_not_gone_because_something_else_is_not_found(seed: Seed, front: Front) -> None:
    group = seed.make_group("some")
    front.says += [Says(404, b"no such page")]
    assert told(lambda cloud: cloud.delete_group(group)).status == 404
    asyncio.run(Cloud("behind").delete_group(group))
    asyncio.run(Cloud("behind").delete_group(group))  # that it is not there is fine


@pytest.mark.openstack
@GROUP
def test_all_of_a_collection_is_read_that_comes_in_pages(seed: Seed, front: Front) -> None:
    front.page = 1
    found = asyncio.run(Cloud("behind").look(seed.hosts()))
    assert sorted(port.name for port in found["B"].members) == ["A", "B-eth0", "B-eth1"]


@pytest.mark.openstack
@GROUP
def test_no_service_in_the_catalogue(seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = seed.served.entry("member") | {"region_name": "Elsewhere"}
    written(tmp_path, monkeypatch, clouds(elsewhere=entry))
    error = told(reading(seed), "elsewhere")
    assert error.kind == "EndpointNotFound"
    assert "Check `region_name` and `interface`" in error.todo


@pytest.mark.openstack
@GROUP
def test_an_endpoint_with_its_version(seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catalogues have it so too."""
    entry = seed.served.entry("member") | {"network_endpoint_override": f"{seed.served.neutron}/v2.0/"}
    written(tmp_path, monkeypatch, clouds(versioned=entry))
    assert asyncio.run(reading(seed)(Cloud("versioned"))).name == "B-eth1"


# ---- clouds.yaml ---------------------------------------------------------------------------------


def test_a_cloud_that_clouds_yaml_has_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(tmp_path, monkeypatch, clouds(business={"auth_type": "none"}, office={"auth_type": "none"}))
    error = told(lambda cloud: cloud.port("x"), "busines")
    assert str(error) == (
        f"cloud busines: looked for it in clouds.yaml: {tmp_path}/clouds.yaml has no cloud 'busines', but business, "
        "office; did you mean 'business'?\n"
        "  Correct the name, or add the entry. It is the first file that there is of those looked for."
    )


def test_no_clouds_yaml_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from openstack.config import loader

    monkeypatch.setattr(loader, "CONFIG_FILES", [f"{tmp_path}/clouds.yaml", f"{tmp_path}/clouds.json"])
    monkeypatch.delenv("OS_CLIENT_CONFIG_FILE", raising=False)
    error = told(lambda cloud: cloud.port("x"), "business")
    assert error.seen == "there is no such file"
    assert f"Looked for {tmp_path}/clouds.yaml" in error.todo
    assert "defaults" not in told(lambda cloud: cloud.port("x"), "defaults").seen


def several(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Entries with one region, with two and with none, behind which nobody answers."""
    entry = {"auth_type": "none", "network_endpoint_override": "http://127.0.0.1:9"}
    far = {"name": "east", "values": {"network_endpoint_override": "http://cloud.invalid:9696"}}
    text = clouds(one=entry | {"regions": ["west"]}, two=entry | {"regions": ["west", far]}, none=entry)
    written(folder, monkeypatch, text)
    monkeypatch.delenv("OS_REGION_NAME", raising=False)


def test_an_entry_with_several_regions_is_not_guessed_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    several(monkeypatch, tmp_path)
    assert str(told(lambda cloud: cloud.port("x"), "two")) == (
        "cloud two: looked for it in clouds.yaml: its entry has several regions: west, east\n"
        "  Say which one: `openstack: {cloud: two, region: west}` in the spec, `--cloud two/west`, or OS_REGION_NAME "
        "as for `openstack`."
    )


@pytest.mark.parametrize(
    ("asked", "environment", "name", "seen"),
    [
        ("two/east", "west", "two/east", "not known here"),
        ("two/west", "", "two/west", "Connection refused"),
        ("two", "east", "two/east", "not known here"),
        ("two/north", "", "two/north", "its entry has no region 'north', but west, east"),
        ("two", "eats", "two", "no region 'eats' (OS_REGION_NAME), but west, east; did you mean 'east'?"),
        ("one", "", "one", "Connection refused"),
        ("one", "west", "one", "Connection refused"),
        ("one", "east", "one", "no region 'east' (OS_REGION_NAME), but west"),
        ("none", "east", "none/east", "Connection refused"),
        ("none", "", "none", "Connection refused"),
    ],
)
def test_the_region_is_that_of_the_spec_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str, environment: str, name: str, seen: str
) -> None:
    """As for the openstack client; what is asked, and with what, is named with it."""
    several(monkeypatch, tmp_path)
    if environment:
        monkeypatch.setenv("OS_REGION_NAME", environment)
    error = told(lambda cloud: cloud.port("x"), asked)
    assert seen in error.seen
    assert error.host == f"cloud {name}"
    if "/" in name and "region" not in error.seen:
        entry, region = name.split("/")
        assert f"`openstack --os-cloud {entry} --os-region-name {region} port list`" in error.todo


@pytest.mark.openstack
@GROUP
def test_a_catalogue_with_several_regions(
    seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the entry names none, the library would take the first."""
    keystone, admin = seed.served.keystone, seed.session()
    services = admin.get(f"{keystone}/services?type=network").json()["services"]
    region = {"id": "Far", "description": ""}
    assert admin.post(f"{keystone}/regions", json={"region": region}).ok
    wanted = {
        "interface": "public",
        "region_id": "Far",
        "service_id": services[0]["id"],
        "url": "http://127.0.0.1:9",
    }
    made = admin.post(f"{keystone}/endpoints", json={"endpoint": wanted}).json()["endpoint"]["id"]
    entry = {key: value for key, value in seed.served.entry("member").items() if key != "region_name"}
    written(tmp_path, monkeypatch, clouds(mine=entry))
    try:
        assert "its catalogue has several regions: Far, RegionOne" in told(reading(seed), "mine").seen
        monkeypatch.setenv("OS_REGION_NAME", "RegionOne")
        cloud = Cloud("mine")
        assert asyncio.run(reading(seed)(cloud)).name == "B-eth1"
        assert cloud.name == "mine/RegionOne"
        found = asyncio.run(cloud.look(seed.hosts()))
        assert {each.cloud for each in found.values()} == {"mine/RegionOne"}  # so in records and journals
        assert asyncio.run(reading(seed)(Cloud("mine/RegionOne"))).name == "B-eth1"
    finally:
        admin.delete(f"{keystone}/endpoints/{made}")
        admin.delete(f"{keystone}/regions/Far")


@pytest.mark.parametrize(
    ("key", "there", "seen"),
    [
        ("cacert", None, "its `cacert` is not there: "),
        ("cacert", "no PEM", "its `cacert` has no certificate that can be read: "),
        ("cert", None, "its `cert` is not there: "),
    ],
)
def test_a_file_of_certificates_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, there: str | None, seen: str
) -> None:
    file = tmp_path / "of the cloud"
    if there is not None:
        file.write_text(there)
    auth = {"username": "me", "password": "hush", "user_domain_id": "default"}
    # They are read when there is a connection.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        auth["auth_url"] = f"https://127.0.0.1:{listening.getsockname()[1]}/v3"
        written(tmp_path, monkeypatch, clouds(mine={"auth": auth, key: str(file)}))
        error = told(lambda cloud: cloud.port("x"), "mine")
    assert error.seen == f"{seen}{file}"
    assert "clouds.yaml" in error.todo or "PEM" in error.todo
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("clouds:\n  mine: {auth: {password: hush", "clouds.yaml cannot be read, or is no YAML"),
        ("[]", "has no cloud 'mine', nor any other"),
        ("clouds: []", "has no cloud 'mine', nor any other"),
        ("clouds: {mine: {auth_type: sorcery, auth: {password: hush}}}", "not known here: sorcery"),
        ("clouds: {mine: {auth_type: v3token, auth: {password: hush}}}", "its entry lacks auth_url"),
        ("clouds: {mine: hush}", "its entry cannot be used"),
        ("clouds: {mine: {auth: hush}}", "its entry cannot be used"),
    ],
)
def test_an_entry_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, seen: str
) -> None:
    written(tmp_path, monkeypatch, text)
    error = told(lambda cloud: cloud.port("x"), "mine")
    assert seen in str(error)
    assert "hush" not in str(error)


@pytest.mark.openstack
@GROUP
def test_the_environment(seed: Seed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "none.yaml"))
    assert "OS_AUTH_URL and the like are not set" in told(lambda cloud: cloud.port("x"), "envvars").seen
    entry = seed.served.entry("member")
    monkeypatch.setenv("OS_REGION_NAME", entry["region_name"])
    for key, value in entry["auth"].items():
        monkeypatch.setenv(f"OS_{key.upper()}", value)
    assert asyncio.run(reading(seed)(Cloud("envvars"))).name == "B-eth1"


def test_without_the_library() -> None:
    """It is an extra: who asks no cloud does not have it."""
    program = (
        "import asyncio, sys\n"
        "sys.modules['openstack'] = None\n"
        "from crossnet.errors import CrossnetError\n"
        "from crossnet.openstack.api import Cloud\n"
        "try: asyncio.run(Cloud('x').port('y'))\n"
        "except CrossnetError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "pipx install --force '.[openstack]'` in the clone" in said


def test_nobody_pays_for_it_who_asks_no_cloud() -> None:
    program = "import sys, crossnet.openstack.api; print({'openstack', 'keystoneauth1', 'requests'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "set()\n"
