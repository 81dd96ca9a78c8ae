"""Take one safeguard away at a time, and see a test go red: a program, `controller_mutations.py [NAME…]`.

It works on copies of the package; a mutation whose text is not found any more is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "crossnet"

KILLED = "tests/faults/test_controller_killed.py::test_apply_killed_and_recovered"
OTHERS = "tests/design/test_dependents.py::test_"
RULES = "tests/design/test_rules.py::test_"
STOPPED = "tests/faults/test_controller_stopped.py::test_"
PRINTING = "tests/lab/test_printing_has_no_say.py::test_"
POWER = "tests/faults/test_host_power.py::test_cache_lost_in_a_verb[nftables-btrfs-"
OVER = "tests/faults/test_host_power.py::test_what_is_over_stays_over[nftables-btrfs]"
LATE = f"{STOPPED}who_wakes_up_late_is_refused_and_says_so[before-gateway-commit]"
IN_TIME = "tests/lab/test_fence_in_time.py::test_nobody_passes_while_"
SPOILED = "tests/lab/test_fence_in_time.py::test_a_file_that_is_not_as_it_was_written_opens_nothing_at_boot"
LOST = "tests/lab/test_record_lost.py::"
OTHER = "tests/lab/test_other_version.py::test_"
APART = "tests/lab/test_pid_namespaces.py::test_a_"
NUMBERS = "tests/lab/test_session_numbers.py::test_a_number_that_is_used_again_ends_nobody"
SSH = "tests/transport/test_ssh_config.py::test_"
UNDO = 'if batch.changes[0].resource.kind != {kind!r}:\n        yield from steps_as_files(f"{{folder}}/undo"'


@dataclass(frozen=True, slots=True)
class Mutation:
    """In `file`, `old` becomes `new`; then `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


def _undo_of(kind: str, test: str = LATE) -> Mutation:
    return Mutation(
        f"no undo of a {kind}",
        "transaction/bundle.py",
        'yield from steps_as_files(f"{folder}/undo"',
        UNDO.format(kind=kind),
        test,
    )


MUTATIONS = (
    Mutation(
        "no look at RevokedHostKeys",
        "transport/ssh/settings.py",
        'if (file := says.get("revokedhostkeys")) else None',
        "if (file := None) else None",
        f"{SSH}what_is_the_same_makes_its_difference[RevokedHostKeys]",
    ),
    Mutation(
        "no refusal of what asyncssh cannot honour",
        "transport/ssh/settings.py",
        "    _refuse(says)\n",
        "",
        f"{SSH}what_cannot_be_honoured_is_refused_by_its_name[KnownHostsCommand]",
    ),
    Mutation(
        "no refusal of Match exec where ssh is missing",
        "transport/ssh/plain_config.py",
        'if criterion == "all":',
        'if criterion in ("all", "exec", "true"):',
        f"{SSH}without_ssh_what_only_ssh_can_tell_is_refused[Match exec true]",
    ),
    Mutation(
        "a jump is moved by delete and insert",
        "resources/jump.py",
        "        restore = restore_command(side.command, waits=side.waits)\n",
        "        return (delete, insert)\n",
        f"{IN_TIME}a_jump_is_moved[iptables-nft]",
    ),
    Mutation(
        "the unit moves a jump by delete and insert",
        "persistence/start.py",
        '    } | "$1-restore" ${5:+"$5"} --noflush\n',
        '    } >/dev/null; for how in -D -I; do "$1" -w -t "$2" $how "$3" '
        '-m comment --comment crossnet -j "$4"; done\n',
        f"{IN_TIME}a_jump_is_moved[iptables-legacy]",
    ),
    Mutation(
        "a unit that is stopped does not close the gateway",
        "persistence/unit.py",
        'stop=_STOP if fenced else ""',
        'stop=""',
        f"{IN_TIME}rules_are_loaded_again[iptables-nft]",
    ),
    Mutation(
        "rules that cannot be loaded do not close the gateway",
        "persistence/start.py",
        "[ $failed = 0 ] || close",
        ":",
        f"{IN_TIME}rules_are_loaded_again[nftables]",
    ),
    Mutation(
        "what somebody else has ended is told as a disk that cannot be written to",
        "transaction/host.sh",
        '    fence "$1"\n    exit "$2"\n',
        '    exit "$2"\n',
        "tests/faults/test_host_guard.py::test_who_arms_what_somebody_ends_meanwhile_hears_just_that",
    ),
    Mutation(
        "a file that was emptied or cut is loaded at boot",
        "persistence/start.py",
        'if [ "${sum%% *}" != "$2" ]; then',
        "if false; then",
        f"{SPOILED}[nftables]",
    ),
    *(_undo_of(kind) for kind in ("route", "table", "jump", "file", "service")),
    # What begins to forward is closed by the roll-back itself: it shows where forwarding was to end.
    _undo_of(
        "sysctl",
        "tests/lab/test_transaction.py::test_an_undo_that_fails_in_the_middle_leaves_the_crossing_up",
    ),
    Mutation(
        "an established packet from any interface",
        "design/rules.py",
        "yield _rule((*_way_back(ends.path), *back, _ESTABLISHED), Accept())",
        "yield _rule((*back, _ESTABLISHED), Accept())",
        f"{RULES}established_speaks_for_no_flow_but_those_of_the_crossing",
    ),
    Mutation(
        "an established packet from any destination",
        "design/rules.py",
        'back = (Endpoint("source", destination), Endpoint',
        "back = (Endpoint",
        f"{RULES}established_speaks_for_no_flow_but_those_of_the_crossing",
    ),
    Mutation(
        "an established packet in either direction",
        "design/rules.py",
        'Endpoint("destination", source), _REPLY)',
        'Endpoint("destination", source))',
        f"{RULES}established_speaks_for_no_flow_but_those_of_the_crossing",
    ),
    Mutation(
        "an ICMP error about any flow",
        "design/rules.py",
        "icmp, _RELATED, _REPLY, *about)",
        "icmp, _RELATED, _REPLY)",
        f"{RULES}routers_on_the_way_may_send_icmp_errors_about_what_lies_behind_them",
    ),
    Mutation(
        "flows keep their old fate",
        "resources/table.py",
        "(*cls.load(have, want), *ends, *_remove_empty(have, want))",
        "(*cls.load(have, want), *_remove_empty(have, want))",
        "tests/lab/test_crossing.py::test_a_flow_older_than_the_crossing_is_translated_and_an_outsiders_ends",
    ),
    Mutation(
        "an undo leaves empty tables of iptables-nft",
        "resources/table.py",
        "(*cls.load(have, want), *ends, *_remove_empty(have, want))",
        "(*cls.load(have, want), *ends)",
        "tests/lab/test_no_table_left.py::test_nothing_is_left_that_was_not_there",
    ),
    Mutation(
        "flows keep their old fate until iptables enters the rules",
        "resources/jump.py",
        "(*type(self.resource).render(self.have, self.want), *self.rules.entered)",
        "type(self.resource).render(self.have, self.want)",
        "tests/lab/test_crossing.py::test_a_flow_older_than_the_crossing_is_translated_and_an_outsiders_ends",
    ),
    Mutation(
        "no taking of the folder",
        "transaction/host.sh",
        '[ ! -d "$T" ] || { held && exit $HELD; }',
        'rm -rf -- "$T"',
        f"{STOPPED}of_two_controllers_at_the_same_time_one_changes_and_the_other_nothing",
    ),
    Mutation(
        "no looking at the folder in one instant",
        "transaction/host.sh",
        "    until $BOUNDED flock -n 9; do",
        "    until true; do",
        f"{STOPPED}who_comes_while_another_one_begins_or_ends_waits_for_its_turn",
    ),
    Mutation(
        "no fencing by the transaction's id",
        "transaction/host.sh",
        '    held=\'\'\n    read -r held 2>/dev/null <"$1/id"\n    [ "$held" = "$2" ]',
        '    held=$2\n    [ -d "$1" ]',
        f"{STOPPED}who_wakes_up_while_another_one_waits_decides_nothing_for_it",
    ),
    Mutation(
        "a decision that can be made twice",
        "transaction/host.sh",
        '[ -e decision ] || ln -- "$2" decision',
        'echo "$2" >decision',
        f"{STOPPED}who_decides_second_is_refused",
    ),
    Mutation(
        "a deadline that never comes",
        "transaction/host.sh",
        "    at='' of=''\n    read -r at of 2>/dev/null <\"$1\"",
        '    return 1\n    read -r at of 2>/dev/null <"$1"',
        LATE,
    ),
    Mutation(
        "no watcher",
        "transaction/host.sh",
        'if is_due "$T/deadline" || is_decided rollback || [ -e "$T/result" ]; then insist "$1"; fi',
        ":",
        LATE,
    ),
    Mutation(
        "a commit after the deadline",
        "transaction/host.sh",
        'if ! is_decided && is_due "$T/deadline"; then',
        "if false; then",
        f"{STOPPED}who_decides_after_the_deadline_is_refused",
    ),
    Mutation(
        "the first host does not decide for the others",
        "transaction/ending.py",
        "return await uninterrupted(insist(agent, ask, until=until, watch=site.watch))",
        "await uninterrupted(insist(agent, ask, until=until, watch=site.watch))\n        return True",
        f"{STOPPED}who_confirms_when_the_first_host_has_gone_back_takes_the_others_back",
    ),
    Mutation(
        "no look at how the hosts have ended it",
        "transaction/ending.py",
        "return (*still, *(split for split in _splits(past, spec, facts) if split.transaction not in held))",
        "return tuple(still)",
        f"{STOPPED}a_split_is_told_and_brought_together_from_another_machine",
    ),
    Mutation(
        "what stands without a record is not seen",
        "record.py",
        "[trace for trace in traces if not _knows(kept, trace)]",
        "[trace for trace in traces if False]",
        f"{LOST}test_a_client_that_lost_its_record_is_healed_and_undone",
    ),
    Mutation(
        "a damaged record is an empty one",
        "record.py",
        "return _with_traces(facts, kept, lost)",
        "return kept",
        f"{LOST}test_an_apply_keeps_the_fence_and_an_undo_closes_the_gateway[emptied-nftables]",
    ),
    Mutation(
        "a record that lost a part is believed",
        "sealed.py",
        "if checksum != _checksum(content):",
        "if False:",
        f"{LOST}test_what_is_left_of_a_record_opens_no_gateway[_cut_forwarding-nftables]",
    ),
    Mutation(
        "a record without a checksum is believed",
        "sealed.py",
        "if checksum is None:",
        "if checksum is None:\n        return content\n    if False:",
        f"{LOST}test_what_is_left_of_a_record_opens_no_gateway[_cut_forwarding_and_checksum-nftables]",
    ),
    Mutation(
        "without its record forwarding was on before",
        "record.py",
        'yield Owned(None if lets_pass else Sysctl(setting.name, "0"), setting)',
        "return",
        f"{LOST}test_an_apply_keeps_the_fence_and_an_undo_closes_the_gateway[removed-nftables]",
    ),
    Mutation(
        "exit code 0 is a yes",
        "transaction/agent.py",
        "if signs and not any(",
        "if False and not any(",
        "tests/planning/test_agent_answers.py",
    ),
    Mutation(
        "the script is not compared with its name",
        "transaction/agent.py",
        """sum=$(sha256sum <"$1") && [ "${sum%% *}" = "$digest" ]; }""",
        '[ -s "$1" ]; }',
        f"{OTHER}what_stands_in_the_place_of_the_script_is_replaced_and_never_run[foreign]",
    ),
    Mutation(
        "another version's transaction is ended by this one",
        "transaction/host.sh",
        'end_by_its_own() { ! is_anothers || setsid /bin/sh "$T/host.sh" recover </dev/null >/dev/null 2>&1; }',
        "end_by_its_own() { :; }",
        f"{OTHER}when_its_time_is_over_its_own_script_ends_it[recover]",
    ),
    Mutation(
        "a session number is a session",
        "transaction/host.sh",
        '[ -n "$began" ] || whose=ours',
        ":",
        f"{NUMBERS}[worker-leader gone]",
    ),
    Mutation(
        "a session number of another container is a session here",
        "transaction/host.sh",
        """[ "${space:-$numbering}" = "$numbering" ] || return 0""",
        ":",
        f"{NUMBERS}[worker-another namespace]",
    ),
    Mutation(
        "a process number means the same in every container",
        "transaction/journal.py",
        "return f\"{boot} {os.readlink('/proc/self/ns/pid')}\"",
        "return boot",
        f"{APART}controller_in_another_container_is_not_dead[the first]",
    ),
    Mutation(
        "a watcher that cannot be seen is dead",
        "transaction/host.sh",
        '{ is_alive "$T/watcher" || is_out_of_sight "$T/watcher"; }',
        'is_alive "$T/watcher"',
        f"{APART}watcher_in_another_container_is_not_dead",
    ),
    Mutation(
        "a file of somebody else is written whatever it is by now",
        "transaction/host.sh",
        '[ "$found" = "$3" ] || { echo "$2 was changed by somebody else since it was read" >&2 && return 1; }',
        ":",
        "tests/planning/test_lines.py::test_the_host_touches_nothing_of_a_file_that_somebody_changed",
    ),
    Mutation(
        "half a part of a file stays beside it",
        "transaction/host.sh",
        'rm -f -- "$aside" # of one that was cut short',
        ":",
        "tests/planning/test_lines.py::test_what_a_step_cut_short_left_beside_the_file_goes_with_the_way_back",
    ),
    Mutation(
        "two names of a machine are two machines",
        "planning/refusals.py",
        "refusals = list(_same_machine(facts))",
        "refusals: list[Refusal] = []",
        f"{LOST}test_two_names_of_one_machine_are_said_to_be_one",
    ),
    Mutation(
        "recover asks once",
        "transaction/ending.py",
        "return await insist(agent, ask, until=until, watch=site.watch)",
        "return await ask()",
        "tests/faults/test_controller_answered.py::test_nonsense_at_some_answers",
    ),
    Mutation(
        "an exit code says what was decided",
        "transaction/agent.py",
        "if await self._decided() != journal.CONFIRM:",
        "if True:",
        "tests/planning/test_agent_answers.py::test_what_the_host_holds_as_decided_is_decided_whatever_it_said",
    ),
    Mutation(
        "the folder may be anybody's",
        "facts/folder.py",
        "case $place in */crossnet)",
        "case $place in */nobody)",
        f"{OTHER}a_folder_that_is_not_crossnets_alone_is_refused[owner]",
    ),
    Mutation(
        "nothing is swept",
        "api/finishing.py",
        '(await site.ask(lambda host: Agent(host, "").sweep())).all()',
        "return",
        f"{KILLED}[app-stage-during]",
    ),
    Mutation(
        "a confirmed host does not count",
        "transaction/ending.py",
        "if CONFIRM in said and not is_first_open:",
        "if False:",
        f"{KILLED}[gateway-commit-after]",
    ),
    Mutation(
        "no rollback by the controller",
        "transaction/group.py",
        "left = await self._until_known(member, end)",
        "left = []",
        f"{STOPPED}an_interrupt_while_it_waits_puts_the_hosts_back[SIGINT]",
    ),
    Mutation(
        "a watcher that raises is heard",
        "site.py",
        "self.watch = without_a_say(watch)",
        "self.watch = watch",
        f"{PRINTING}a_watcher_that_raises_has_no_say",
    ),
    Mutation(
        "the words decide the code",
        "cli/failure.py",
        "return code if outcome.code is None else outcome.code",
        "return code",
        f"{PRINTING}nobody_who_reads_takes_nothing_back_and_hides_nothing",
    ),
    Mutation(
        "what others say is printed as it is",
        "show/paint.py",
        "visible(text, frozenset(_MARKS.values()))",
        "text",
        "tests/cli/test_printing.py::test_words_of_the_command_line_are_told_harmlessly",
    ),
    Mutation(
        "a person's decision is made again",
        "transaction/group.py",
        "if self._guard.confirm_within is None and ",
        "if ",
        f"{STOPPED}a_person_confirms_from_another_machine",
    ),
    Mutation(
        "no flush of what a host remembers",
        "transaction/host.sh",
        '&& flush "$1.aside" && mv',
        "&& mv",
        OVER,
    ),
    Mutation(
        "no flush of a file in /etc",
        "transaction/host.sh",
        'flush "$aside" && { [ ! -d',
        "{ [ ! -d",
        OVER,
    ),
    Mutation(
        "no flush of a removal",
        "transaction/host.sh",
        '[ ! -d "$folder" ] || flush "$folder"',
        "return 0",
        OVER,
    ),
    Mutation(
        "no flush of a link",
        "transaction/host.sh",
        'chown -h "$3" "$1"; } && flush "${1%/*}"',
        'chown -h "$3" "$1"; }',
        OVER,
    ),
    Mutation(
        "no flush of what was cleaned up",
        "transaction/host.sh",
        '    flush "$ROOT"\n    return 0',
        "    return 0",
        OVER,
    ),
    Mutation(
        "a crossing stays beside one that is over at the same time",
        "planning/lapse.py",
        "one.until > at)",
        "one.until >= at)",
        "tests/planning/test_lapse.py::test_what_is_over_goes_and_what_is_not_stays",
    ),
    Mutation(
        "what is over is taken back whatever the record says",
        "transaction/host.sh",
        'if [ "$(digest "$ROOT/applied.json")" != "$(cat "$ROOT/until/$1/of")" ]; then',
        "if false; then",
        "tests/lab/test_until.py::test_with_another_record_nothing_is_done_and_that_is_told",
    ),
    Mutation(
        "what is over is loaded at boot",
        "persistence/until.py",
        "{record.UNTIL_SCRIPT} lapse boot",
        "{record.UNTIL_SCRIPT} status",
        "tests/lab/test_until.py::test_what_was_over_while_the_host_was_down_is_never_open[nftables]",
    ),
    Mutation(
        "no flush of what was staged",
        "transaction/host.sh",
        "snapshot && sync && mv",
        "snapshot && mv",
        OVER,
    ),
    Mutation(
        "no flush of a step",
        "transaction/host.sh",
        '{ count_up >>"$T/step" && flush "$T/step"; } || unable',
        '{ count_up >>"$T/step"; } || unable',
        f"{POWER}apply-few]",
    ),
    Mutation(
        "no limit of an answer",
        "transport/output.py",
        "self.is_too_much = True",
        "pass",
        "tests/transport/test_local.py::test_a_command_that_prints_without_end_is_ended_and_told[output]",
    ),
    Mutation(
        "a file that cannot be read is absent",
        "facts/files.py",
        "    return Unreadable(lines[-1] if lines else",
        "    return None if lines else Unreadable(",
        "tests/facts/test_capabilities.py::test_a_file_that_cannot_be_read_is_not_absent",
    ),
    Mutation(
        "a surprise in an answer gets through",
        "facts/question.py",
        "    except Exception as error:",
        "    except OSError as error:",
        "tests/facts/test_capabilities.py::test_every_value_in_an_answer_is_checked",
    ),
    Mutation(
        "an undo asks nobody",
        "dependents.py",
        "            stays.add(owned.identity)\n",
        "",
        f"{OTHERS}whoever_came_later_keeps_forwarding_and_is_named",
    ),
    Mutation(
        "all that forwards counts as having come later",
        "dependents.py",
        "if each not in (owned.others or ())",
        "if True",
        f"{OTHERS}what_was_there_before_crossnet_did_without_it",
    ),
    Mutation(
        "every start of a host is the same",
        "dependents.py",
        "return bool(owned.boot and facts.boot) and owned.boot != facts.boot",
        "return False",
        f"{OTHERS}a_host_that_was_started_again_is_given_what_its_own_files_set",
    ),
    Mutation(
        "no flush of the decision",
        "transaction/host.sh",
        "    flush .\n",
        "",
        f"{POWER}commit-few]",
    ),
)


def goes_red(mutation: Mutation) -> bool:
    with tempfile.TemporaryDirectory(prefix="crossnet-mutated-", dir="/var/tmp") as folder:
        shutil.copytree(PACKAGE, Path(folder) / "crossnet", ignore=shutil.ignore_patterns("__pycache__"))
        os.chmod(folder, 0o755)
        place = Path(folder) / "crossnet" / mutation.file
        text = place.read_text(encoding="utf-8")
        if text.count(mutation.old) != 1:
            raise SystemExit(f"{mutation.name}: found {text.count(mutation.old)} times in {mutation.file}")
        place.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        words = ["-m", "pytest", "-q", "-x", "-m", "not machine", "-p", "no:cacheprovider"]
        ran = subprocess.run(
            [sys.executable, *words, mutation.test],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder},
            capture_output=True,
            text=True,
        )
        if ran.returncode not in (0, 1):
            raise SystemExit(f"{mutation.name}: pytest ended with {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.returncode == 1


def main(names: list[str]) -> int:
    unseen = []
    for mutation in MUTATIONS:
        if names and mutation.name not in names:
            continue
        red = goes_red(mutation)
        sys.stdout.write(
            f"{'red' if red else 'GREEN'}\t{mutation.name}\t{mutation.test.rpartition('/')[2]}\n"
        )
        sys.stdout.flush()
        if not red:
            unseen.append(mutation.name)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
