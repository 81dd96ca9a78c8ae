"""crossnet's lines in a file of somebody else: exactly these come, exactly these go, whatever else stands there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossnet.errors import PlanRefused
from crossnet.export import Format, export
from crossnet.export.splice import spliced
from crossnet.facts import Facts, FileState
from crossnet.facts.files import SIGNATURE
from crossnet.planning import Plan, make_plan, make_undo_plan
from crossnet.resources import Change, Lines, Resource, Splice
from crossnet.resources import Test as Asked  # pytest takes what is called so for one
from crossnet.transaction.agent import script_text
from crossnet.transaction.bundle import steps_as_files
from design.factsheet import host_facts, with_files
from export.plans import plan
from planning.beside import wanting
from planning.fakehost import FakeHost, StepRefused, carry_out, facts_of, hosts_of

PATH = "/etc/network/interfaces"
ENTRY = b"    # crossing business\n    up ip route add 10.0.44.0/24 via 10.0.43.101\n"
OTHERS = b"# by hand\nauto eth0\niface eth0 inet dhcp\n"


def there(data: bytes | None, *, mode: int = 0o640, owner: str = "5:6") -> Facts:
    files = {} if data is None else {PATH: FileState(data, mode, owner)}
    return with_files(host_facts("app", ""), files)


def wanted(facts: Facts, entry: bytes = ENTRY, before: Resource | None = None) -> Lines:
    return Lines(PATH, entry).knowing(before, facts)


def after(facts: Facts, change: Change) -> Facts:
    host = FakeHost.of(facts)
    host.make(change)
    return host.facts()


def data_of(facts: Facts) -> bytes | None:
    state = facts.file(PATH)
    return None if state is None else state.data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OTHERS, OTHERS + ENTRY),
        (b"", ENTRY),
        (None, ENTRY),
        (b"no end of line", b"no end of line\n" + ENTRY),
        (b"caf\xe9 \xff\x00\n", b"caf\xe9 \xff\x00\n" + ENTRY),
    ],
)
def test_lines_come_at_the_end_and_go_without_a_trace(data: bytes | None, expected: bytes) -> None:
    facts = there(data)
    want = wanted(facts)
    assert want.current(facts) is None
    made = after(facts, Change(None, want))
    assert data_of(made) == expected
    assert Lines(PATH, ENTRY).satisfied_by(want.current(made) or pytest.fail("not found"))
    # A roll-back, and an undo by whoever has nothing but the record.
    assert after(made, Change(None, want).inverse()).files == facts.files
    recorded = Lines.decode(want.encode())
    assert recorded == want
    assert after(made, Change(recorded.ours(made), None)).files == facts.files


lines = st.text("ab#\n", max_size=12).map(str.encode)


@settings(max_examples=300, deadline=None)
@given(data=st.none() | lines, entry=st.text("ab", min_size=1, max_size=4), more=lines, first=lines)
@example(data=b"a", entry="a", more=b"", first=b"")
@example(data=b"b\na", entry="a", more=b"b", first=b"")
def test_whatever_others_write_around_them_stays(
    data: bytes | None, entry: str, more: bytes, first: bytes
) -> None:
    facts = there(data)
    want = wanted(facts, f"crossnet {entry}\n".encode())
    made = data_of(after(facts, Change(None, want)))
    assert made is not None
    head = first + b"\n" if first else b""
    edited = there(head + made + more)
    have = Lines.decode(want.encode()).ours(edited)
    assert have is not None
    assert have.flaw == ""
    left = data_of(after(edited, Change(have, None)))
    if more:
        assert left == head + (data or b"") + (b"\n" if want.ended else b"") + more
    elif head or data:
        assert left == head + (data or b"")
    else:
        assert left == data


def test_the_mode_and_the_owner_of_the_file_stay() -> None:
    facts = there(OTHERS, mode=0o600, owner="33:44")
    state = after(facts, Change(None, wanted(facts))).file(PATH)
    assert state is not None
    assert (state.mode, state.owner) == (0o600, "33:44")


def test_other_lines_take_the_place_of_those_that_were_applied() -> None:
    facts = there(OTHERS)
    first = wanted(facts)
    made = after(facts, Change(None, first))
    moved = there(b"# new on top\n" + (data_of(made) or b"") + b"# below\n")
    second = wanted(moved, b"    up something else\n", first)
    have = second.ours(moved)
    assert have is not None
    assert not second.satisfied_by(have)
    change = Change(have, second)
    changed = after(moved, change)
    assert data_of(changed) == b"# new on top\n" + OTHERS + b"    up something else\n# below\n"
    assert after(changed, change.inverse()).files == moved.files


def test_lines_of_others_that_are_wanted_now_too_stay_theirs() -> None:
    """Before crossnet's one stands another's, and both together are what crossnet wants next."""
    theirs = b"one of their own\n"
    facts = there(theirs)
    first = wanted(facts)
    made = after(facts, Change(None, first))
    second = wanted(made, theirs + ENTRY, first)
    have = second.ours(made)
    assert have is not None
    assert not second.satisfied_by(have)
    changed = after(made, Change(have, second))
    assert data_of(changed) == theirs + theirs + ENTRY
    assert second.satisfied_by(second.current(changed) or pytest.fail("not found"))
    assert after(changed, Change(have, second).inverse()).files == made.files
    recorded = Lines.decode(second.encode())
    assert after(changed, Change(recorded.ours(changed), None)).files == facts.files


def test_a_file_that_crossnet_made_stays_where_others_write_into_it_by_now() -> None:
    facts = there(None)
    want = wanted(facts)
    made = after(facts, Change(None, want))
    have = want.ours(there((data_of(made) or b"") + b"# by hand\n"))
    (step,) = Change(have, None).steps
    assert isinstance(step, Splice)
    assert step.after is not None
    emptied = there(b"")
    want = wanted(emptied)
    (step,) = Change(want, None).steps
    assert isinstance(step, Splice)
    assert step.after is not None, "an empty file was there before"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (OTHERS + ENTRY + ENTRY, "its lines stand there 2 times"),
        (ENTRY.replace(b"# crossing business", b"# crossing of mine"), "somebody has edited its lines"),
        (OTHERS + ENTRY.splitlines(keepends=True)[1], "somebody has edited its lines"),
    ],
)
def test_what_is_ambiguous_is_told(data: bytes, why: str) -> None:
    have = Lines(PATH, ENTRY).ours(there(data))
    assert have is not None
    assert have.flaw == why
    assert not Lines(PATH, ENTRY).satisfied_by(have)


def test_lines_of_others_that_look_alike_are_none_of_crossnets() -> None:
    data = b"".join(b"# " + line for line in ENTRY.splitlines(keepends=True))
    assert Lines(PATH, ENTRY).ours(there(data)) is None


def test_a_link_is_not_followed() -> None:
    facts = with_files(host_facts("app", ""), {PATH: FileState(b"", 0o777, "", "interfaces.real")})
    have = wanted(facts).current(facts)
    assert have is not None
    assert have.flaw == "it is a link to interfaces.real"
    assert not wanted(facts).satisfied_by(have)


@pytest.mark.parametrize("entry", [b"", b"\n", b"no end", b"a\0b\n", b"# " + SIGNATURE + b"\n"])
def test_an_entry_is_whole_lines_that_nobody_takes_for_a_file_of_crossnets(entry: bytes) -> None:
    with pytest.raises(ValueError, match=PATH):
        Lines(PATH, entry)


def test_a_step_names_nothing_of_the_rest_of_the_file() -> None:
    facts = there(b"psk=secret\n" + OTHERS)
    change = Change(None, wanted(facts))
    for step in (*change.steps, *change.inverse().steps):
        assert b"secret" not in repr(step).encode()


def test_a_file_that_moved_since_the_plan_is_refused_and_left_alone() -> None:
    facts = there(OTHERS)
    change = Change(None, wanted(facts))
    host = FakeHost.of(there(OTHERS + b"# meanwhile\n"))
    with pytest.raises(StepRefused):
        host.make(change)
    assert data_of(host.facts()) == OTHERS + b"# meanwhile\n"


# ---- on the host ---------------------------------------------------------------------------------

SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]
LOADED = script_text().removesuffix('main "$@"\n') + 'BOUNDED=; perform "$1"\n'


def perform(shell: list[str], folder: Path, step: Splice) -> subprocess.CompletedProcess[bytes]:
    """The step as host.sh does it, with its files in a folder."""

    def located(path: PurePosixPath) -> PurePosixPath:
        return PurePosixPath(folder / path.name)

    for name, data in steps_as_files("do", (step,), located):
        (folder / name).write_bytes(data)
    words = (*shell, "-c", LOADED, str(folder / "host.sh"), str(folder / "do.01"))
    return subprocess.run(words, capture_output=True, timeout=20)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("data", [OTHERS, None, b"", b"no end", bytes(range(256)) + b"\n"])
def test_the_host_does_what_the_step_says_both_ways_and_again(
    tmp_path: Path, shell: list[str], data: bytes | None
) -> None:
    file = tmp_path / "interfaces"
    if data is not None:
        file.write_bytes(data)
        file.chmod(0o640)
    change = Change(None, wanted(there(data)))
    ((do,), (undo,)) = (change.steps, change.inverse().steps)
    assert isinstance(do, Splice)
    assert isinstance(undo, Splice)
    for _ in range(2):
        assert perform(shell, tmp_path, do).returncode == 0
        assert file.read_bytes() == (data or b"") + (b"\n" if data == b"no end" else b"") + ENTRY
        assert file.stat().st_mode & 0o777 == (0o644 if data is None else 0o640)
    for _ in range(2):
        assert perform(shell, tmp_path, undo).returncode == 0
        assert (file.read_bytes() if file.exists() else None) == data
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_host_touches_nothing_of_a_file_that_somebody_changed(tmp_path: Path, shell: list[str]) -> None:
    file = tmp_path / "interfaces"
    (step,) = Change(None, wanted(there(OTHERS))).steps
    assert isinstance(step, Splice)
    for stands in (OTHERS + b"# meanwhile\n", b""):
        file.write_bytes(stands)
        told = perform(shell, tmp_path, step)
        assert told.returncode != 0
        assert b"was changed by somebody else" in told.stderr
        assert file.read_bytes() == stands
    file.unlink()
    file.symlink_to("elsewhere")
    assert perform(shell, tmp_path, step).returncode != 0
    assert file.is_symlink()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_what_a_step_cut_short_left_beside_the_file_goes_with_the_way_back(
    tmp_path: Path, shell: list[str]
) -> None:
    for data in (OTHERS, None):
        if data is not None:
            (tmp_path / "interfaces").write_bytes(data)
        (tmp_path / ".interfaces.crossnet").write_bytes(b"half")
        (undo,) = Change(None, wanted(there(data))).inverse().steps
        assert isinstance(undo, Splice)
        assert perform(shell, tmp_path, undo).returncode == 0
        assert not (tmp_path / ".interfaces.crossnet").exists()
        (tmp_path / "interfaces").unlink(missing_ok=True)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("data", [OTHERS, None, b"no end"])
def test_an_exported_script_and_a_playbook_do_the_same(
    tmp_path: Path, shell: list[str], data: bytes | None
) -> None:
    file = tmp_path / "interfaces"
    if data is not None:
        file.write_bytes(data)
        file.chmod(0o640)
    change = Change(None, wanted(there(data)))
    located = str(tmp_path / "interfaces")

    def ran(test: Asked) -> int:
        words = [*shell, "-c", f"set -u; {''.join(test.functions)}\n{test.line}"]
        return subprocess.run(words, input=test.stdin or b"", capture_output=True).returncode

    for way in (change, change.inverse()):
        assert ran(way.is_made(lambda _: located)) != 0
        assert ran(way.inverse().is_made(lambda _: located)) == 0
        (step,) = way.steps
        assert isinstance(step, Splice)
        for _ in range(2):
            assert ran(spliced(step, lambda _: located)) == 0
        assert ran(way.is_made(lambda _: located)) == 0
    assert (file.read_bytes() if file.exists() else None) == data
    if data is not None:
        assert file.stat().st_mode & 0o777 == 0o640
    file.write_bytes(b"# meanwhile\n")
    for step in change.steps:
        assert isinstance(step, Splice)
        assert ran(spliced(step, lambda _: located)) != 0
    assert file.read_bytes() == b"# meanwhile\n"
    assert [path.name for path in tmp_path.iterdir()] == ["interfaces"]


# ---- through a plan ------------------------------------------------------------------------------


def applied_on(data: bytes | None, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Mapping[str, FakeHost]]:
    """Lines on the client besides the crossing, planned and carried out."""
    wanting(monkeypatch, app=(Lines(PATH, ENTRY),))
    spec = plan().spec
    hosts = hosts_of({name: replace(host.base) for name, host in hosts_of(seed()).items()})
    if data is not None:
        hosts["app"].files[PATH] = FileState(data, 0o644, "0:0")
    made = make_plan(spec, facts_of(hosts))
    carry_out(made, hosts)
    return made, hosts


def seed() -> Mapping[str, Facts]:
    from design.factsheet import SEED, facts_from

    return facts_from(SEED)


def test_a_plan_adds_them_after_the_confirmation_and_an_undo_takes_them_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, hosts = applied_on(OTHERS, monkeypatch)
    assert all(change.resource.kind != "lines" for _, change in made.live())
    assert hosts["app"].files[PATH].data == OTHERS + ENTRY
    assert make_plan(made.spec, facts_of(hosts)).is_empty
    hosts["app"].files[PATH] = FileState(b"# top\n" + OTHERS + ENTRY + b"# more\n", 0o644, "0:0")
    assert make_plan(made.spec, facts_of(hosts)).is_empty, "what others write is no drift"
    carry_out(make_undo_plan(made.spec, facts_of(hosts)), hosts)
    assert hosts["app"].files == {PATH: FileState(b"# top\n" + OTHERS + b"# more\n", 0o644, "0:0")}


def test_equal_lines_of_somebody_else_are_used_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    made, hosts = applied_on(ENTRY + OTHERS, monkeypatch)
    assert [one.kind for host in made.hosts for one in host.adopted] == ["lines"]
    carry_out(make_undo_plan(made.spec, facts_of(hosts)), hosts)
    assert hosts["app"].files[PATH].data == ENTRY + OTHERS


def test_a_plan_and_an_undo_are_refused_where_they_stand_there_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made, hosts = applied_on(OTHERS, monkeypatch)
    hosts["app"].files[PATH] = FileState(ENTRY + OTHERS + ENTRY, 0o644, "0:0")
    for again in (make_plan, make_undo_plan):
        with pytest.raises(PlanRefused) as refused:
            again(made.spec, facts_of(hosts))
        assert [(one.code, one.where) for one in refused.value.refusals] == [("foreign-in-own", "app")]
        assert f"lines {PATH}" in str(refused.value)


def test_it_is_exported_with_its_way_back_and_none_of_the_rest_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanting(monkeypatch, app=(Lines(PATH, ENTRY),))
    hosts = hosts_of(seed())
    hosts["app"].files[PATH] = FileState(b"psk=secret\n", 0o600, "0:0")
    made = make_plan(plan().spec, facts_of(hosts))
    (script,) = (one.text for one in export(made, Format.SH) if one.host == "app")
    (playbook,) = (one.text for one in export(made, Format.ANSIBLE))
    for text in (script, playbook):
        assert text.count(f"splice {PATH} ") == 2
        assert "secret" not in text
    if shutil.which("shellcheck") is not None:
        told = subprocess.run(["shellcheck", "-s", "sh", "-"], input=script, text=True, capture_output=True)
        assert told.stdout == ""
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
