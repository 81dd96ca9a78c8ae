"""A kind that no stage has heard of goes through all of them: whoever adds one writes one file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from crossnet import design
from crossnet.design.persistence import persistence as keeping
from crossnet.export import Format, export
from crossnet.facts import Facts, FileState
from crossnet.health import crossing_status
from crossnet.persistence import heal
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.record import Record, read_record
from crossnet.resources import KINDS, Change, Command, File, Resource, Step
from crossnet.show.json import plan_data
from crossnet.show.text import plan_text
from crossnet.spec import Spec
from crossnet.transaction import journal
from crossnet.transaction.batches import batched
from crossnet.transaction.bundle import bundle
from crossnet.verification.comparing import read_back
from design.factsheet import SEED, facts_from
from export.plans import plan
from planning.beside import wanting
from planning.fakehost import FakeHost, carry_out, hosts_of
from planning.motd import MARK, PATH, SAID, Motd

WORDS = Motd(f"{MARK} leads to the business network")
ANOTHERS = FileState(b"Welcome.\n", 0o644, "0:0")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, Motd.kind, Motd)
    wanting(monkeypatch, app=(WORDS,))


@pytest.fixture
def hosts() -> Mapping[str, FakeHost]:
    return hosts_of(facts_from(SEED))


def spec() -> Spec:
    return plan().spec


def facts_of(hosts: Mapping[str, FakeHost]) -> dict[str, Facts]:
    """With what the hosts answer to the question of the kind."""
    found = {}
    for name, host in hosts.items():
        state = host.files.get(PATH)
        found[name] = replace(host.facts(), answers={SAID: state.data.decode() if state else ""})
    return found


def planned(hosts: Mapping[str, FakeHost]) -> Plan:
    return make_plan(spec(), facts_of(hosts))


def applied(hosts: Mapping[str, FakeHost]) -> Plan:
    made = planned(hosts)
    carry_out(made, hosts)
    return made


def the_change(made: Plan) -> Change:
    (change,) = (change for _, change in made.changes if isinstance(change.resource, Motd))
    return change


def test_it_is_planned_in_its_place_and_once(hosts: Mapping[str, FakeHost]) -> None:
    made = planned(hosts)
    kinds = [(host, change.resource.kind) for host, change in made.live()]
    assert kinds[-2:] == [("app", "route"), ("app", "motd")]
    assert ("gateway", "motd") not in kinds
    applied(hosts)
    assert hosts["app"].files[PATH].data.decode() == f"{WORDS.words}\n"
    assert planned(hosts).is_empty


def test_a_plan_shows_it_in_text_and_json(hosts: Mapping[str, FakeHost]) -> None:
    made = planned(hosts)
    assert f"  + motd    {WORDS.words}\n" in plan_text(made)
    assert f"write {PATH}\n        | {WORDS.words}\n" in plan_text(made, verbose=True)
    (app,) = (host for host in json.loads(json.dumps(plan_data(made)))["hosts"] if host["host"] == "app")
    (shown,) = (change for change in app["changes"] if change["kind"] == "motd")
    assert (shown["action"], shown["key"], shown["have"]) == ("create", PATH, None)
    assert shown["want"] == {"words": WORDS.words}
    assert shown["steps"][0]["write"] == PATH


def test_what_is_there_from_somebody_else_is_given_back(hosts: Mapping[str, FakeHost]) -> None:
    hosts["app"].files[PATH] = ANOTHERS
    before = hosts["app"].state()
    assert the_change(applied(hosts)).have == Motd("Welcome.")
    assert "~ motd    Welcome. → " + WORDS.words in plan_text(make_plan_again(hosts, ANOTHERS))
    undo = make_undo_plan(spec(), facts_of(hosts))
    assert the_change(undo).want == Motd("Welcome.")
    carry_out(undo, hosts)
    assert hosts["app"].state() == before


def make_plan_again(hosts: Mapping[str, FakeHost], state: FileState) -> Plan:
    """The plan for hosts on which somebody has written something else."""
    others = {name: replace(host, files={**host.files}) for name, host in hosts.items()}
    others["app"].files[PATH] = state
    return planned(others)


def test_an_equal_one_of_somebody_else_is_used_and_stays(hosts: Mapping[str, FakeHost]) -> None:
    hosts["app"].files[PATH] = ANOTHERS
    with pytest.MonkeyPatch.context() as patch:
        wanting(patch, app=(Motd("Welcome."),))
        made = applied(hosts)
    assert [item for host in made.hosts for item in host.adopted] == [Motd("Welcome.")]
    carry_out(make_undo_plan(spec(), facts_of(hosts)), hosts)
    assert hosts["app"].files[PATH] == ANOTHERS


def test_the_record_keeps_it_and_it_is_found_without_one(hosts: Mapping[str, FakeHost]) -> None:
    applied(hosts)
    owned = read_record(facts_of(hosts)["app"]).find(WORDS)
    assert owned is not None
    assert (owned.original, owned.applied) == (None, WORDS)
    del hosts["app"].files["/var/lib/crossnet/applied.json"]
    found = read_record(facts_of(hosts)["app"])
    assert found.rebuilt
    assert found.find(WORDS) is not None
    carry_out(make_undo_plan(spec(), facts_of(hosts)), hosts)
    assert PATH not in hosts["app"].files


def test_drift_is_read_back_and_told(hosts: Mapping[str, FakeHost]) -> None:
    made = applied(hosts)
    assert read_back(made, facts_of(hosts), live_only=False) == ()
    hosts["app"].files[PATH] = ANOTHERS
    told = f"app: motd Welcome., was applied as {WORDS.words}"
    assert read_back(made, facts_of(hosts), live_only=True) == (told,)
    again = facts_of(hosts)
    (status,) = crossing_status(make_plan(spec(), again), again)
    assert status.state == "drifted"
    assert any("motd" in reason for reason in status.reasons)


def test_a_journal_proves_that_it_is_undone(hosts: Mapping[str, FakeHost]) -> None:
    made = planned(hosts)
    entry = journal.entry(the_change(made))
    begun = replace(journal.new("1234abcd", "apply", ("app",)), entries=(entry,))
    (kept,) = journal.decode(journal.encode(begun)).entries
    assert kept == entry
    assert kept.is_undone(facts_of(hosts)["app"])
    applied(hosts)
    assert not kept.is_undone(facts_of(hosts)["app"])


def test_the_host_gets_it_as_files_with_its_way_back(hosts: Mapping[str, FakeHost]) -> None:
    made = planned(hosts)
    (app,) = (host for host in made.hosts if host.host == "app")
    live = batched([the_change(made)])
    given = bundle(journal.new("1234abcd", "apply", ("app",)), app, live, [], lambda path: path)
    for words in (
        f"motd {WORDS.words}\n",
        f"write\n{PATH}\n644\n-\n",
        f"remove\n{PATH}\n",
        f"state\n{PATH}\n",
    ):
        assert words.encode() in given


def test_it_is_exported_as_a_script_and_as_a_playbook(hosts: Mapping[str, FakeHost]) -> None:
    made = planned(hosts)
    (script,) = (one.text for one in export(made, Format.SH) if one.host == "app")
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    assert f"says '{WORDS.words}'" in script
    assert f"put {PATH} 644" in script
    (playbook,) = (one.text for one in export(made, Format.ANSIBLE))
    assert f"dest: {PATH}" in playbook
    assert f"path: {PATH}" in playbook


@dataclass(frozen=True, slots=True)
class Spoken(Motd):
    """The same, and healed."""

    kind: ClassVar[str] = "spoken"
    heals: ClassVar[bool] = True

    @classmethod
    def render(cls, have: Motd | None, want: Motd | None) -> tuple[Step, ...]:
        return (Command(("sh", "-c", f'printf "%s\\n" "$1" >{PATH}', "sh", want.words if want else "")),)


@pytest.mark.parametrize("kind", [Motd, Spoken])
def test_it_is_healed_or_the_plan_says_that_it_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[Motd]
) -> None:
    """On the gateway, which has it for all crossings there."""
    item = kind(WORDS.words)

    def also(facts: Facts, record: Record, live: Sequence[Resource], *words: Any, **options: Any) -> Any:
        more = (item,) if facts.host == "gateway" else ()
        return keeping(facts, record, (*live, *more), *words, **options)

    monkeypatch.setattr(design, "persistence", also)
    made = plan("business: {from: app, via: gateway, to: 10.0.44.0/24, heal: auto}")
    told = [str(impact) for impact in made.impacts if impact.code == "not-healed"]
    (script,) = (
        change.want.data.decode()
        for host, change in made.changes
        if host == "gateway" and isinstance(change.want, File) and change.want.path == heal.SCRIPT
    )
    path = tmp_path / "heal"
    path.write_text(script)
    looked = subprocess.run(["sh", path, "look"], capture_output=True, text=True, check=True).stdout
    if kind is Spoken:
        assert told == []
        assert f"spoken {WORDS.words}" in looked
        assert f"cat {PATH}" in script
    else:
        assert len(told) == 1
        assert f"motd {PATH} does not come back by itself" in told[0]
        assert "motd" not in looked


def test_the_crossing_is_planned_as_without_it(hosts: Mapping[str, FakeHost]) -> None:
    others = [
        (host, change) for host, change in planned(hosts).changes if not isinstance(change.resource, Motd)
    ]
    with pytest.MonkeyPatch.context() as patch:
        wanting(patch)
        assert others == list(planned(hosts).changes)
