"""The page in a real browser: no request, accessible in light and dark, by keyboard, on one sheet of paper.

`scripts/browser` installs what these need and runs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossnet.show.page import page
from lacking import lacking
from show import chromium, diagnoses
from show.chromium import Chromium
from show.diagnoses import DIAGNOSES

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

AXE = os.environ.get("CROSSNET_AXE", "")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not chromium.is_there():
        lacking("no chromium here: scripts/browser installs it")
    with Chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in DIAGNOSES}
    for name, file in made.items():
        file.write_text(page(DIAGNOSES[name]), encoding="utf-8")
    return made


@pytest.fixture
def tab(browser: Chromium) -> Chromium:
    browser.window(1200)
    browser.media(prefers_color_scheme="light")
    return browser


def complaints(tab: Chromium) -> list[Any]:
    """What the page asked of others, and what went wrong in it."""
    urls = [event["request"]["url"] for event in tab.happened("Network.requestWillBeSent")]
    return [
        *(url for url in urls if not url.startswith(("file:", "data:"))),
        *tab.happened("Runtime.exceptionThrown"),
        *tab.happened("Page.javascriptDialogOpening"),
        *(entry["entry"]["text"] for entry in tab.happened("Log.entryAdded")),
    ]


# ---- every page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", DIAGNOSES)
def test_axe_finds_nothing(tab: Chromium, files: dict[str, Path], name: str, scheme: str) -> None:
    if not AXE:
        lacking("no axe here: scripts/browser installs it")
    tab.media(prefers_color_scheme=scheme)
    tab.open(files[name])
    tab.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = tab.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations.map((each) => "
        "[each.impact, each.id, each.nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary)]))"
    )
    assert found == []


@pytest.mark.parametrize("name", DIAGNOSES)
def test_it_asks_nothing_and_nothing_goes_wrong(tab: Chromium, files: dict[str, Path], name: str) -> None:
    tab.open(files[name])
    assert complaints(tab) == []
    assert tab.evaluate("document.documentElement.classList.contains('scripted')")
    assert (
        tab.evaluate("getComputedStyle(document.querySelector('main > section')).borderTopLeftRadius")
        != "0px"
    )


@pytest.mark.parametrize("name", DIAGNOSES)
def test_it_is_printed_on_one_sheet_of_a4(tab: Chromium, files: dict[str, Path], name: str) -> None:
    tab.media(prefers_color_scheme="dark")
    tab.open(files[name])
    pdf = tab.printed()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    (box,) = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", pdf)
    assert [round(float(side)) for side in box] == [595, 842]


@pytest.mark.parametrize("width", [360, 768, 1600])
@pytest.mark.parametrize("name", DIAGNOSES)
def test_only_drawings_and_tables_are_wider_than_a_window(
    tab: Chromium, files: dict[str, Path], name: str, width: int
) -> None:
    tab.window(width)
    tab.open(files[name])
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_in_a_narrow_window_the_drawing_begins_where_it_stops(tab: Chromium, files: dict[str, Path]) -> None:
    tab.window(380)
    tab.open(files["filter-drop"])
    left, right = tab.evaluate(
        "(() => { const mark = document.querySelector('.mark.stops').getBoundingClientRect();"
        " return [mark.left, mark.right]; })()"
    )
    assert 0 < left < right < 380


def test_without_scripts_everything_can_be_read(tab: Chromium, files: dict[str, Path]) -> None:
    tab("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(files["forwarding-off"])
        document = tab("DOM.getDocument", depth=0)["root"]["nodeId"]
        button = tab("DOM.querySelector", nodeId=document, selector="button")["nodeId"]
        chart = tab("DOM.querySelector", nodeId=document, selector=".time .seen")["nodeId"]
        tab("CSS.enable")
        assert _style(tab, button, "display") == "none"
        assert _style(tab, chart, "display") != "none"
    finally:
        tab("Emulation.setScriptExecutionDisabled", value=False)


def _style(tab: Chromium, node: int, name: str) -> str:
    styles = tab("CSS.getComputedStyleForNode", nodeId=node)["computedStyle"]
    return next(str(style["value"]) for style in styles if style["name"] == name)


def test_a_screen_reader_gets_landmarks_the_drawing_in_words_and_a_table(
    tab: Chromium, files: dict[str, Path]
) -> None:
    tab.open(files["forwarding-off"])
    tree = tab("Accessibility.getFullAXTree")["nodes"]
    told = [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            node.get("description", {}).get("value", ""),
        )
        for node in tree
        if not node["ignored"]
    ]
    roles = [role for role, _, _ in told]
    assert {"banner", "main", "contentinfo", "table", "columnheader", "rowheader"} <= set(roles)
    assert roles.count("main") == 1
    names = [name for role, name, _ in told if role in ("image", "img")]
    assert any("It stops here: the request was dropped at gateway eth1." in name for name in names)


# ---- copying -------------------------------------------------------------------------------------


def test_a_command_is_copied_by_keyboard_and_this_is_said(tab: Chromium, files: dict[str, Path]) -> None:
    tab("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    tab.open(files["forwarding-off"])
    tab("Page.bringToFront")
    for _ in range(20):
        tab.press("Tab")
        if tab.evaluate("document.activeElement.className") == "copy":
            break
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "Copy commands for gateway"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter")
    tab.wait_for("document.querySelector('.copied-now').textContent === 'Copied'")
    assert tab.evaluate("navigator.clipboard.readText()") == "sysctl -w net.ipv4.ip_forward=1"


def test_it_is_copied_also_where_the_clipboard_is_not_allowed(tab: Chromium, files: dict[str, Path]) -> None:
    tab.open(files["forwarding-off"])
    tab.evaluate("delete Navigator.prototype.clipboard; document.querySelector('button.copy').focus()")
    tab.evaluate("addEventListener('copy', () => { window.taken = String(getSelection()); })")
    tab.press("Enter")
    tab.wait_for("document.querySelector('.copied-now').textContent === 'Copied'")
    assert tab.evaluate("window.taken") == "sysctl -w net.ipv4.ip_forward=1"
    assert tab.evaluate("document.activeElement.className") == "copy"


def test_what_is_copied_of_a_hostile_command_is_what_is_shown(tab: Chromium, files: dict[str, Path]) -> None:
    tab.open(files["hostile"])
    shown = tab.evaluate("document.querySelector('.copied code').textContent")
    assert shown.split("\n") == [
        rf"echo '{diagnoses.SCRIPT}'\nrm -rf /",
        r"printf '\x1b]0;x\x07'",
    ]


# ---- the timeline --------------------------------------------------------------------------------

SPAN = "document.querySelector('.span').textContent"
PLACES = "[...document.querySelectorAll('.time .seen')].map((mark) => mark.getAttribute('transform')).join()"
MIDDLE = (
    "(() => { const box = document.querySelector('svg.time').getBoundingClientRect();"
    " return [box.left + box.width * 0.6, box.top + box.height / 2]; })()"
)


@pytest.fixture
def chart(tab: Chromium, files: dict[str, Path]) -> Chromium:
    tab.open(files["reachable"])
    tab.evaluate("document.querySelector('.chart').focus({preventScroll: false})")
    tab.evaluate("document.querySelector('.chart').scrollIntoView({block: 'center'})")
    return tab


def test_it_is_zoomed_and_moved_by_keys(chart: Chromium) -> None:
    whole = chart.evaluate(PLACES)
    chart.press("+", "+")
    near = chart.evaluate(PLACES)
    assert near != whole
    assert chart.evaluate(SPAN).startswith("Shown: ")
    chart.press("ArrowRight")
    assert chart.evaluate(PLACES) != near
    chart.press("ArrowLeft")
    assert chart.evaluate(PLACES) == near
    chart.press("-", "-")
    assert chart.evaluate(PLACES) == whole
    chart.press("+", "+")
    chart.press("0", "0")
    assert chart.evaluate(PLACES) == whole


def test_it_is_zoomed_by_the_wheel_around_the_pointer_and_moved_by_dragging(chart: Chromium) -> None:
    x, y = chart.evaluate(MIDDLE)
    whole = chart.evaluate(PLACES)
    chart.mouse("mouseWheel", x, y, deltaX=0, deltaY=-240)
    chart.wait_for(f"{PLACES} !== {whole!r}")
    near = chart.evaluate(PLACES)
    chart.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
    chart.mouse("mouseMoved", x + 90, y, button="left", buttons=1)
    chart.mouse("mouseReleased", x + 90, y, button="left", clickCount=1)
    assert chart.evaluate(PLACES) != near
    at_rest = chart.evaluate(PLACES)
    chart.mouse("mouseMoved", x - 90, y)
    assert chart.evaluate(PLACES) == at_rest


def test_the_wheel_scrolls_the_page_where_there_is_nothing_left_to_zoom_out_of(chart: Chromium) -> None:
    chart.window(1200, 400)
    chart.evaluate("document.querySelector('.chart').scrollIntoView({block: 'start'})")
    chart.evaluate(
        "window.refused = null; addEventListener('wheel', (e) => { window.refused = e.defaultPrevented; })"
    )
    x, y = chart.evaluate(MIDDLE)
    chart.mouse("mouseWheel", x, y, deltaX=0, deltaY=120)
    chart.wait_for("window.refused !== null")
    assert chart.evaluate("window.refused") is False


def test_every_button_does_its_own(chart: Chromium) -> None:
    whole = chart.evaluate(PLACES)
    seen = [whole]
    for name in ("in", "later", "earlier", "out"):
        chart.evaluate(f"document.querySelector('[data-do={name}]').click()")
        seen.append(chart.evaluate(PLACES))
    assert seen[1] == seen[3] != seen[0]
    assert seen[2] != seen[1]
    assert seen[4] == whole
    chart.evaluate("document.querySelector('[data-do=in]').click()")
    chart.evaluate("document.querySelector('[data-do=whole]').click()")
    assert chart.evaluate(PLACES) == whole


def test_marks_that_came_close_are_told_apart_by_zooming(tab: Chromium, files: dict[str, Path]) -> None:
    tab.open(files["long"])
    told = "document.querySelectorAll('.time .seen:not(.crowded):not(.outside)').length"
    assert tab.evaluate(told) <= 6
    for _ in range(5):
        tab.evaluate("document.querySelector('[data-do=in]').click()")
    inside = tab.evaluate("document.querySelectorAll('.time .seen:not(.outside)').length")
    assert 0 < inside < 20
    assert tab.evaluate(told) == inside
