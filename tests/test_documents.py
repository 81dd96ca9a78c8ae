"""What the documents say of the code is true: commands, options, codes, specs, links, both languages."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import crossnet
from crossnet.cli import cli
from crossnet.codes import CODES
from crossnet.specfile import parse, schema

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"

# A fence, what follows it on its line, and what it holds; a fence in an outline may be indented.
BLOCK = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """The code blocks of a page: the words after the fence, and the text."""
    return [(found[2], found[3]) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def headings(page: Path) -> list[str]:
    return re.findall(r"^#{1,6} .+$", prose(page), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link can point to in a page, as the common renderers name headings."""
    titles = (heading.lstrip("# ").lower() for heading in headings(page))
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in titles}


def without_comments(text: str) -> list[str]:
    return [re.sub(r"(^|\s+)#.*", "", line).rstrip() for line in text.splitlines()]


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    for word, command in group.commands.items():
        full = f"{name} {word}".strip()
        yield full, command
        if isinstance(command, click.Group):
            yield from commands(command, full)


COMMANDS = dict(commands(cli))


def section(page: Path, title: str) -> str:
    """The text below a heading of a page, up to the next heading."""
    inside, fenced, kept = False, False, []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if not fenced and line.startswith("#"):  # in a block it is a comment
            inside = line.lstrip("# ") == title
        elif inside:
            kept.append(line)
    return "\n".join(kept)


# ---- all pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(place), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_spec_can_be_read(page: Path) -> None:
    for words, text in blocks(page):
        if words == "yaml spec":
            assert parse(text, page.name).crossings


def test_there_are_specs_to_read() -> None:
    assert sum(words == "yaml spec" for page in PAGES for words, _ in blocks(page)) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_begins_with_its_title_and_closes_its_blocks(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert text.count("```") == 2 * len(blocks(page))


def test_every_page_of_the_documents_is_linked() -> None:
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(prose(page))
    }
    folders = {place for place in linked if place.is_dir()}
    lost = [page for page in PAGES if page not in linked and page.parent not in folders]
    assert not lost, "no page links to these"


# ---- the two languages ---------------------------------------------------------------------------


def test_both_languages_have_the_same_structure() -> None:
    levels = [[heading.split()[0] for heading in headings(page)] for page in (ENGLISH, CHINESE)]
    assert levels[0] == levels[1]
    lists = [
        [line[:2] for line in prose(page).splitlines() if re.match(r"- |\d\.|\|", line)]
        for page in (ENGLISH, CHINESE)
    ]
    assert lists[0] == lists[1]


def test_both_languages_show_the_same_code() -> None:
    english, chinese = blocks(ENGLISH), blocks(CHINESE)
    assert [words for words, _ in english] == [words for words, _ in chinese]
    for (_, one), (_, other) in zip(english, chinese, strict=True):
        assert without_comments(one) == without_comments(other)


def test_both_languages_link_to_the_same_pages() -> None:
    links = [set(LINK.findall(prose(page))) for page in (ENGLISH, CHINESE)]
    assert links[0] - {CHINESE.name} == links[1] - {ENGLISH.name}


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_blocks_of_the_readme_fit_a_terminal(page: Path) -> None:
    for _, text in blocks(page):
        # Comments are in the reader's language, whose letters may be two columns wide.
        assert max(len(line) for line in text.splitlines()) <= 80


# ---- the reference -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_reference(name: str) -> None:
    told = section(REFERENCE / "commands.md", name)
    assert told, f"commands.md has no section {name!r}"
    shared = section(REFERENCE / "commands.md", "Every command")
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            for word in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", told + shared), f"{name} {word}"
        elif isinstance(parameter.type, click.Choice):
            assert all(choice in told for choice in parameter.type.choices), f"{name} {parameter.name}"
        else:
            assert parameter.human_readable_name.strip("[]") in told, f"{name} {parameter.name}"


def test_the_reference_has_no_command_that_is_gone() -> None:
    page = REFERENCE / "commands.md"
    titles = {heading.lstrip("# ") for heading in headings(page)}
    assert titles - {"Commands", "Every command", "Environment"} == set(COMMANDS)


def test_the_options_of_all_commands_are_told_once() -> None:
    told = section(REFERENCE / "commands.md", "Every command")
    for parameter in cli.params:
        assert all(word in told for word in parameter.opts)


def test_codes_are_those_that_exist() -> None:
    told = re.findall(
        r"^\| `([a-z0-9-]+)` \|", (REFERENCE / "codes.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(told) == sorted(CODES)


def test_what_an_interface_is_to_stop_doing_is_switched_off_for_all_too() -> None:
    """Of such a setting the kernel takes the larger of both."""
    rows = (REFERENCE / "codes.md").read_text(encoding="utf-8").splitlines()
    for text in (*(code.fix for code in CODES.values()), *rows):
        if re.search(r"conf\.INTERFACE\.\w+=0`", text):
            assert "the same of `all`" in text, text


def test_the_reference_of_the_spec_has_every_key() -> None:
    told = (REFERENCE / "spec.md").read_text(encoding="utf-8")
    for model in (schema.File, schema.Host, schema.Crossing):
        for key in model.key_names():
            assert f"| `{key}` |" in told, key


def test_every_key_is_in_the_example_that_promises_so() -> None:
    example = next(text for words, text in blocks(REFERENCE / "spec.md") if words == "yaml spec")
    for key in (*schema.File.key_names(), *schema.Crossing.key_names()):
        assert re.search(rf"\b{key}:", example), key


def test_changes_name_this_version() -> None:
    assert f"## [{crossnet.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


# ---- what must not get into a page ---------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_knows_the_machine_it_was_written_on(page: Path) -> None:
    assert not re.search(r"/(home|root|work|Users)/", page.read_text(encoding="utf-8"))


def test_what_is_said_to_be_rebooted_is_a_test() -> None:
    page = (REFERENCE / "persistence-matrix.md").read_text()
    named = [f"tests/lab/{found}" for found in re.findall(r"`(test_\w+\.py::[^`]+)`", page)]
    assert named
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-m", "machine", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr


@pytest.mark.parametrize(
    "page", [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md"], ids=lambda one: one.name
)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`([\w./]+/[\w.]+\.(?:py|sh))`", prose(page))
    folders = (ROOT, ROOT / "src" / "crossnet")
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert set(missing) <= {"resources/NAME.py"}


def test_all_that_a_transaction_writes_is_listed() -> None:
    script = (ROOT / "src" / "crossnet" / "transaction" / "host.sh").read_text(encoding="utf-8")
    listed = (REFERENCE / "files.md").read_text(encoding="utf-8").partition("## During a transaction")[2]
    written = set(re.findall(r"\$T/([a-z]+)", script))
    assert {"deadline", "made", "ending"} <= written
    assert {name for name in written if not re.search(rf"`{name}[`./]", listed)} == set()
