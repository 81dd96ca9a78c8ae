"""Status knows what stands under another name, by another gateway, or for nobody in the spec any more."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace

import pytest

from crossnet.api import plan
from crossnet.api.looking import status_of
from crossnet.errors import CrossnetError
from crossnet.facts import Facts, FileState
from crossnet.health import CrossingStatus, State
from crossnet.record import BEGUN, DEADLINE, DECISION, IDENTITY, JOURNAL, read_record, with_record
from crossnet.show.text import status_text
from crossnet.specfile import parse
from crossnet.standing import Stamp
from crossnet.transaction import journal
from design.factsheet import facts_from, with_files
from planning.fakehost import FakeHost, carry_out, facts_of, hosts_of

SHEET = """
app:
  eth0 10.0.43.15/24
app2:
  eth0 10.0.43.16/24
gateway:
  eth1 10.0.43.101/24
  eth0 10.0.44.63/24
other:
  eth1 10.0.43.102/24
  eth0 10.0.44.64/24
  tools ip sysctl nft iptables iptables-nft conntrack awk systemctl
"""
HOSTS = "hosts: {app: {lab: app}, app2: {lab: app2}, gateway: {lab: gateway}, other: {lab: other}}"
WEB = "{from: app, via: gateway, to: 10.0.44.10}"
STORE = "{from: app2, via: gateway, to: 10.0.44.20}"


def text(name: str = "office", **crossings: str) -> str:
    own = "".join(f"  {one}: {said}\n" for one, said in crossings.items())
    return f"crossnet: 1\nname: {name}\n{HOSTS}\ncrossings:\n{own}"


@pytest.fixture
def hosts() -> Mapping[str, FakeHost]:
    return hosts_of(facts_from(SHEET))


def applied(hosts: Mapping[str, FakeHost], said: str) -> None:
    carry_out(plan(parse(said, "x.yaml"), facts_of(hosts)), hosts)


def stamped(hosts: Mapping[str, FakeHost]) -> dict[str, Facts]:
    ann = Stamp("ann", "2026-11-28T12:00:00Z", socket.gethostname(), "CHG1")
    return {
        name: with_record(one, read_record(one).stamped(ann, anew=True))
        for name, one in facts_of(hosts).items()
    }


def told(hosts: Mapping[str, FakeHost], said: str) -> dict[str, CrossingStatus]:
    found = status_of(parse(said, "x.yaml"), stamped(hosts))
    return {one.crossing: one for one in found}


def test_a_crossing_that_left_the_spec_and_stands_is_pending(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web=WEB, store=STORE))
    found = told(hosts, text(web=WEB))
    assert list(found) == ["web", "store"]
    assert found["web"].state is State.UNPROVED
    assert (found["store"].state, list(found["store"].reasons)) == (
        State.PENDING,
        [
            "not in the spec any more, and still applied on app2, gateway, by ann at 2026-11-28T12:00:00Z: "
            "`crossnet apply` takes it away. If another file has it, both specs are called office: give yours a "
            "`name:` of its own"
        ],
    )
    applied(hosts, text(web=WEB))
    assert list(told(hosts, text(web=WEB))) == ["web"]


def test_what_was_not_chosen_or_is_of_another_spec_has_not_left(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web=WEB, store=STORE))
    facts = stamped(hosts)
    spec = parse(text(web=WEB, store=STORE), "x.yaml")
    assert [one.crossing for one in status_of(spec.only(["web"]), facts)] == ["web"]
    applied(hosts, text("lab", backup="{from: app, via: gateway, to: 10.0.44.30}"))
    assert list(told(hosts, text(web=WEB, store=STORE))) == ["web", "store"]


def test_a_client_that_left_the_spec_is_named(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web="{from: [app, app2], via: gateway, to: 10.0.44.10}"))
    found = told(hosts, text(web=WEB))["web"]
    assert found.state is State.PENDING
    assert found.reasons[0] == (
        "app2: not its client in the spec any more, and still applied: `crossnet apply` takes it away"
    )


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (
            text(www=WEB),
            "stands as web, applied by ann at 2026-11-28T12:00:00Z: `crossnet apply` gives it the new name",
        ),
        (
            text("work", web=WEB),
            "stands as web of spec office, applied by ann at 2026-11-28T12:00:00Z: `crossnet apply` takes it over",
        ),
        (
            text("work", www=WEB),
            "stands as web of spec office, applied by ann at 2026-11-28T12:00:00Z",
        ),
        (
            text(web=WEB.replace("gateway", "other")),
            "applied by way of gateway: `crossnet apply` moves it to other",
        ),
    ],
    ids=[
        "the crossing has another name",
        "the spec has",
        "both have",
        "the gateway is another",
    ],
)
def test_what_passes_under_another_name_or_by_another_gateway_is_not_down(
    hosts: Mapping[str, FakeHost], then: str, words: str
) -> None:
    applied(hosts, text(web=WEB))
    (found,) = told(hosts, then).values()
    assert (found.state, found.reasons[0], found.pending) == (State.PENDING, words, (words,))


def test_what_closes_the_way_of_a_client_is_no_new_name(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web="{from: [app, app2], via: gateway, to: 10.0.44.10}"))
    for then in (
        text(www=WEB),
        text("work", web=WEB),
    ):  # the plan of the one ends it, that of the other is refused
        (found,) = told(hosts, then).values()
        assert found.state is State.PENDING
        assert not any("new name" in reason or "takes it over" in reason for reason in found.reasons)


def test_a_new_name_or_none_hides_no_drift(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web=WEB))
    hosts["app"].routes.clear()
    for then in (text(www=WEB), text("work", web=WEB), text(store=STORE)):
        found = told(hosts, then)
        (one,) = (each for name, each in found.items() if name != "store")
        assert one.state is State.DRIFTED
        assert one.reasons[0].startswith("app: route 10.0.44.10/32 via 10.0.43.101 dev eth0 was removed")
        assert any("stands as web" in reason or "takes it away" in reason for reason in one.reasons)


@pytest.mark.parametrize("then", [text(www=WEB), text(store=STORE), text(web=WEB[:-1] + ", fence: off}")])
def test_who_has_lost_its_fence_is_open_whatever_the_spec_says_by_now(
    hosts: Mapping[str, FakeHost], then: str
) -> None:
    applied(hosts, text(web=WEB))
    hosts["gateway"].nft.clear()
    found = [reason for one in told(hosts, then).values() for reason in one.reasons]
    (is_open, *_) = [reason for reason in found if "gateway is open for everybody" in reason]
    assert ("brings the fence back" in is_open) is ("fence: off" not in then)


def test_where_there_was_to_be_no_fence_none_is_gone(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web=WEB[:-1] + ", fence: off}"))
    found = told(hosts, text(web=WEB))["web"]
    assert not any("open for everybody" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("now", "by"),
    [(HOSTS, "other"), (HOSTS.replace(", other: {lab: other}", ""), "another machine called gateway")],
    ids=["the machine has another name now", "it is in the spec no more"],
)
def test_a_gateway_is_the_machine_and_not_its_name(hosts: Mapping[str, FakeHost], now: str, by: str) -> None:
    """The name was given to another machine, and given back."""
    one, _, rest = SHEET.partition("gateway:")
    there = hosts_of(facts_from(f"{one}gateway:{rest.partition('other:')[2]}"))
    applied(there, text(web=WEB).replace(HOSTS, "hosts: {app: {lab: app}, gateway: {lab: other}}"))
    hosts = {**hosts, "app": there["app"]}
    if "other" not in now:
        hosts = {name: host for name, host in hosts.items() if name != "other"}
    (found,) = told(hosts, text(web=WEB).replace(HOSTS, now)).values()
    words = f"applied by way of {by}: `crossnet apply` moves it to gateway"
    assert (found.state, found.reasons[0], found.pending) == (State.PENDING, words, (words,))


@pytest.mark.parametrize(
    "now", ["{ssh: root@gw}", "{ssh: ops@10.0.43.101, become: sudo}", "{ssh: 'ssh://root@10.0.43.101:22'}"]
)
def test_a_gateway_that_is_reached_in_another_way_is_no_other_machine(
    hosts: Mapping[str, FakeHost], now: str
) -> None:
    """It was set up anew: its clients still send to it."""
    was = HOSTS.replace("gateway: {lab: gateway}", "gateway: {ssh: root@10.0.43.101}")
    there = hosts_of(facts_from(SHEET))
    applied(there, text(web=WEB).replace(HOSTS, was))
    hosts = {**there, "gateway": hosts["gateway"]}
    said = text(web=WEB).replace(HOSTS, HOSTS.replace("gateway: {lab: gateway}", f"gateway: {now}"))
    (found,) = told(hosts, said).values()
    assert (found.state, found.pending) == (State.DOWN, ())


def test_the_true_reason_of_a_refusal_is_told(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web=WEB))
    found = told(hosts, text("work", vault="{from: app, via: gateway, to: 10.0.44.0/24}", store=STORE))
    why = (
        "both claim packets from app 10.0.43.15 to 10.0.44.10; office/web was applied by ann from "
        f"{socket.gethostname()} at 2026-11-28T12:00:00Z (CHG1)"
    )
    assert (found["vault"].state, found["vault"].reasons) == (
        State.DOWN,
        (f"crossings work/vault and office/web {why}",),
    )
    assert (found["store"].state, found["store"].reasons) == (
        State.DOWN,
        (f"not judged: crossings work/vault and office/web: {why}",),
    )


@pytest.mark.parametrize("decided", [False, True])
def test_what_is_made_and_waits_for_a_person_is_degraded_and_not_down(
    hosts: Mapping[str, FakeHost], decided: bool
) -> None:
    before = facts_of(hosts)
    said = text(web=WEB)
    spec = parse(said, "x.yaml")
    made = plan(spec, before)
    carry_out(made, hosts)
    written = journal.new("0badcafe", "apply", ("gateway", "app"), crossings=["office/web"])
    files = {
        JOURNAL: FileState(journal.encode(written), 0o600, "0:0"),
        IDENTITY: FileState(b"0badcafe", 0o600, "0:0"),
        BEGUN: FileState(b"", 0o600, "0:0"),
        DEADLINE: FileState(b"350 boot", 0o600, "0:0"),
    }
    if decided:
        files[DECISION] = FileState(b"rollback", 0o600, "0:0")
    window = {
        name: with_record(replace(with_files(one, files), uptime=327, boot="boot"), read_record(before[name]))
        for name, one in facts_of(hosts).items()
        if name in ("app", "gateway")
    }
    (found,) = status_of(spec, {**before, **window})
    if decided:
        assert (found.state, found.reasons[0]) == (State.DOWN, "not applied")
        return
    assert found.state is State.DEGRADED
    assert "not applied" not in found.reasons
    assert "gateway: transaction 0badcafe of " in next(
        one for one in found.reasons if one.startswith("gateway: transaction")
    )
    assert any(
        "is made but not confirmed: it waits 23 s for `crossnet confirm" in one for one in found.reasons
    )


def test_what_nobody_has_applied_is_down(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts, text(web=WEB))
    found = told(hosts, text(web=WEB, store=STORE))
    assert (found["store"].state, found["store"].reasons[0]) == (State.DOWN, "not applied")
    assert found["web"].state is State.UNPROVED


def test_nobody_knows_of_verifications_while_the_gateway_is_not_reached(
    hosts: Mapping[str, FakeHost],
) -> None:
    applied(hosts, text(web=WEB))
    spec = parse(text(web=WEB), "x.yaml")
    for lost, words in (("gateway", "verified: not known"), ("app", "verified: never")):
        said = {name: one for name, one in stamped(hosts).items() if name != lost}
        found = status_of(spec, said, {lost: CrossnetError(f"{lost}: does not answer")})
        assert [one.state for one in found] == [State.UNKNOWN]
        assert words in status_text(found)


def test_what_stands_under_another_name_is_known_though_a_client_is_not_reached(
    hosts: Mapping[str, FakeHost],
) -> None:
    applied(hosts, text(web=WEB))
    said = {name: one for name, one in stamped(hosts).items() if name != "app"}
    (found,) = status_of(
        parse(text("work", web=WEB), "x.yaml"), said, {"app": CrossnetError("app: no answer")}
    )
    assert (found.state, found.reasons[0]) == (
        State.PENDING,
        "stands as web of spec office, applied by ann at 2026-11-28T12:00:00Z: `crossnet apply` takes it over",
    )
