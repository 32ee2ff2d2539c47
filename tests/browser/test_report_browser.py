"""report.html in a real browser: pages with every outcome, used as a reader would."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from plimsoll.evidence.events import Event
from tests.process.test_replay import replay
from tests.support.browser import browser, emulate, problems, script
from tests.support.catalogue_events import EVERY_OUTCOME, full_catalogue
from tests.support.made_answers import answers, asking, run_with
from tests.support.run_events import (
    Line,
    cell,
    crash,
    finish,
    gate,
    line,
    load,
    plan,
    report,
    start,
    write_run,
)

MARKUP = "</td></pre><script>window.owned=1</script><img src=x onerror='window.owned=2'><b onclick=alert(1)>"


def replayed_page(folder: Path, events: list[Line]) -> Path:
    """The page of a run that left these events, and failed."""
    write_run(folder, events)
    done = replay(f"--replay={folder}", "-q")
    assert done.returncode == 1, done.stdout
    return folder / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every outcome, short enough to be drawn anew in a moment."""
    return replayed_page(tmp_path_factory.mktemp("outcomes"), full_catalogue(EVERY_OUTCOME))


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def opened(chrome: webdriver.Chrome, page: Path) -> Iterator[webdriver.Chrome]:
    """The page, freshly opened; nothing may be on the console at the end."""
    emulate(chrome)
    problems(chrome)
    chrome.get(page.as_uri())
    yield chrome
    assert problems(chrome) == []
    # Where pytest-html keeps what was unfolded and how it was sorted.
    script(chrome, "sessionStorage.clear()")


def rows(chrome: webdriver.Chrome, kind: str = "") -> int:
    return int(script(chrome, f"return document.querySelectorAll('#results-table tbody{kind}').length"))


def column(chrome: webdriver.Chrome, name: str) -> list[str]:
    # A check is sorted by its id, which its row bears; the cell has what people call it.
    of = "c.closest('tbody').id" if name == "testId" else "c.textContent"
    body = f"return [...document.querySelectorAll('#results-table td.col-' + arguments[0])].map(c => {of})"
    texts: list[str] = script(chrome, body, name)
    return texts


def press(element: WebElement, key: str) -> None:
    """A key on an element that the keyboard can reach."""
    driver: webdriver.Chrome = element.parent
    script(driver, "arguments[0].focus()", element)
    assert script(driver, "return document.activeElement === arguments[0]", element), "the keyboard cannot reach it"
    driver.switch_to.active_element.send_keys(key)


def test_the_page_of_the_whole_catalogue_is_small_and_opens(chrome: webdriver.Chrome, tmp_path: Path) -> None:
    page = replayed_page(tmp_path, full_catalogue())
    assert page.stat().st_size < 3_000_000
    emulate(chrome, width=360)
    chrome.get(page.as_uri())
    assert rows(chrome) > 3000
    drawn = script(chrome, "return document.getElementById('results-table').querySelectorAll('*').length")
    assert drawn < 25 * rows(chrome), "a browser takes its time for each element of each row"
    assert script(chrome, "return document.querySelectorAll('#results-table :is(img, video)').length") == 0
    assert script(chrome, "return document.documentElement.scrollWidth") <= 360
    assert script(chrome, _LAID_OUT) < 50, "rows in sight, and no others"
    emulate(chrome, width=1440)
    chrome.get(page.as_uri())
    assert script(chrome, _LAID_OUT) < 50, "rows in sight, and no others"
    assert problems(chrome) == []


_LAID_OUT: Final = """
const fresh = document.getElementById('results-table').cloneNode(true);
for (const row of fresh.tBodies) { row.classList.remove('plimsoll-laid-out'); }
document.getElementById('results-table').replaceWith(fresh);
return [...fresh.tBodies].filter((row) => row.rows[0].checkVisibility({ contentVisibilityAuto: true })).length;
"""
"""How many rows a browser lays out of a table that was drawn this moment."""


def test_rows_that_waited_are_laid_out_when_the_page_is_idle_and_again_after_sorting(opened: webdriver.Chrome) -> None:
    def is_whole(chrome: webdriver.Chrome) -> bool:
        waiting = ":is(#results-table tbody, .plimsoll-bars):not(.plimsoll-laid-out)"
        return bool(script(chrome, "return document.querySelector(arguments[0]) === null", waiting))

    WebDriverWait(opened, 60).until(is_whole)
    every = rows(opened)
    assert every > 100
    roles = role_counts(opened)
    assert roles["row"] >= every, (
        "each row is a row to those who have the page read aloud, though it is drawn as a block"
    )
    assert roles["cell"] >= 6 * every - 6
    assert roles["columnheader"] == 6
    press(opened.find_element(By.CSS_SELECTOR, ".sortable[data-column-type=testId]"), Keys.ENTER)
    WebDriverWait(opened, 60).until(is_whole)
    assert rows(opened) == every


def role_counts(chrome: webdriver.Chrome) -> Counter[str]:
    """What a browser tells of the table of rows to those who do not see it."""
    root = chrome.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
    table = {"nodeId": root, "selector": "#results-table"}
    node = chrome.execute_cdp_cmd("DOM.querySelector", table)
    found = chrome.execute_cdp_cmd("Accessibility.queryAXTree", node)["nodes"]
    return Counter(str(one["role"]["value"]) for one in found if not one["ignored"])


def test_columns_of_the_rows_stand_under_their_heads(opened: webdriver.Chrome) -> None:
    edges = (
        "return [...document.querySelectorAll(arguments[0])].map((one) => Math.round(one.getBoundingClientRect().left))"
    )
    for width in (700, 1440):
        emulate(opened, width=width)
        heads = script(opened, edges, "#results-table th")
        assert script(opened, edges, "#results-table tbody.failed .collapsible td")[:6] == heads
        assert len(set(heads)) == 6


def test_filters_take_rows_away_and_bring_them_back(opened: webdriver.Chrome) -> None:
    everything, failed, skipped = rows(opened), rows(opened, ".failed"), rows(opened, ".skipped")
    assert failed == 4
    assert skipped > 100
    box = opened.find_element(By.CSS_SELECTOR, "input[data-test-result=passed]")
    assert re.fullmatch(r"Show \d+ Passed", box.get_attribute("aria-label") or "")
    press(box, Keys.SPACE)
    assert rows(opened, ".passed") == 0
    assert rows(opened) == failed + skipped + rows(opened, ".xfailed")
    press(opened.find_element(By.CSS_SELECTOR, "input[data-test-result=skipped]"), Keys.SPACE)
    assert rows(opened) == failed + rows(opened, ".xfailed")
    press(opened.find_element(By.CSS_SELECTOR, "input[data-test-result=passed]"), Keys.SPACE)
    press(opened.find_element(By.CSS_SELECTOR, "input[data-test-result=skipped]"), Keys.SPACE)
    assert rows(opened) == everything


@pytest.mark.parametrize("name", ["testId", "result"])
def test_a_column_sorts_up_and_down_by_keyboard(opened: webdriver.Chrome, name: str) -> None:
    button = f"button.sortable[data-column-type={name}]"
    before = column(opened, name)
    if name == "result":  # the page opens sorted by result, the worst first
        assert before[0] == "Failed"
        press(opened.find_element(By.CSS_SELECTOR, "button[data-column-type=testId]"), Keys.ENTER)
    press(opened.find_element(By.CSS_SELECTOR, button), Keys.ENTER)
    assert column(opened, name) == sorted(before) != before
    press(opened.find_element(By.CSS_SELECTOR, button), Keys.ENTER)
    assert column(opened, name) == sorted(before, reverse=True)


def test_durations_sort_as_times_and_not_as_texts(opened: webdriver.Chrome) -> None:
    press(opened.find_element(By.CSS_SELECTOR, "button[data-column-type=duration]"), Keys.ENTER)
    found = column(opened, "duration")
    assert found == sorted(found, key=lambda text: int(text.split()[0]))
    assert len(set(found)) > 1


def test_a_row_unfolds_by_keyboard_and_by_a_click_on_a_figure(opened: webdriver.Chrome) -> None:
    hidden = "return document.querySelector('tr[data-id=\"' + arguments[0] + '\"]').nextElementSibling.hidden_now"
    hidden = hidden.replace("hidden_now", "classList.contains('hidden')")
    row = script(
        opened,
        "return [...document.querySelectorAll('tbody.passed tr.collapsible')].find(r => r.querySelector('b'))",
    )
    name = row.get_attribute("data-id")
    assert script(opened, hidden, name)
    press(row.find_element(By.CSS_SELECTOR, "td.col-result"), Keys.ENTER)
    assert not script(opened, hidden, name)
    focused = opened.switch_to.active_element
    assert focused.find_element(By.XPATH, "..").get_attribute("data-id") == name, "the focus was lost"
    assert focused.get_attribute("aria-expanded") == "true"
    focused.send_keys(Keys.SPACE)
    assert script(opened, hidden, name)
    figure = opened.find_element(By.CSS_SELECTOR, f"tr[data-id={name}] strong")
    webdriver.ActionChains(opened).scroll_to_element(figure).move_to_element(figure).click().perform()
    assert not script(opened, hidden, name)


def test_light_and_dark_are_two_pages_of_colours_pictures_included(opened: webdriver.Chrome) -> None:
    look = (
        "const style = (s) => getComputedStyle(document.querySelector(s));"
        "return [style('body').backgroundColor, style('body').color, style('.plimsoll-lines .resident').stroke,"
        " style('.plimsoll-lines .loading').stroke, style('.plimsoll-lines span').color,"
        " style('.plimsoll pre').backgroundColor, style('#results-table').color, style('.log').color]"
    )
    light = script(opened, look)
    emulate(opened, dark=True)
    dark = script(opened, look)
    assert all(one != other for one, other in zip(light, dark, strict=True)), (light, dark)
    assert light[0] == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [360, 390, 1280, 1440])
def test_nothing_is_wider_than_the_window(opened: webdriver.Chrome, width: int) -> None:
    emulate(opened, width=width)
    script(opened, "for (const one of document.querySelectorAll('details')) { one.open = true; }")
    opened.find_element(By.ID, "show_all_details").click()
    assert script(opened, "return document.documentElement.scrollWidth") <= width
    names = "return Math.min(...[...document.querySelectorAll('td.col-testId')].map(c => c.clientWidth))"
    assert script(opened, names) > 200, "names are squeezed into a column too narrow to read"
    assert script(opened, "return document.querySelector('.plimsoll svg text')") is None, (
        "it would shrink with the page"
    )
    size = "return [...document.querySelectorAll(arguments[0])].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(script(opened, size, ".plimsoll-lines span")) >= 12, "the text of a chart is too small to read"
    assert script(opened, _TOUCHING) == [], "texts beside an axis touch, or are cut off"


_TOUCHING: Final = """
const found = [];
for (const chart of document.querySelectorAll('.plimsoll-lines')) {
  const whole = chart.getBoundingClientRect();
  const boxes = [...chart.querySelectorAll('span')].map((one) => [one.textContent, one.getBoundingClientRect()]);
  for (const [text, box] of boxes) {
    if (box.left < whole.left || box.right > whole.right || box.bottom > whole.bottom + 1) { found.push(text); }
    for (const [other, beside] of boxes) {
      const isApart = box.right < beside.left || beside.right < box.left || box.bottom <= beside.top
        || beside.bottom <= box.top;
      if (text !== other && !isApart) { found.push(text + ' | ' + other); }
    }
  }
}
return found;
"""
"""Texts of charts over time that lie over each other, or outside of their chart."""


def test_paper_has_the_verdict_and_what_is_wrong_and_no_controls(opened: webdriver.Chrome) -> None:
    emulate(opened, width=794, dark=True, media="print")
    shown = "return [...document.querySelectorAll(arguments[0])].some(e => e.checkVisibility())"
    assert script(opened, shown, ".plimsoll-verdict")
    assert script(opened, shown, "tbody.failed")
    assert script(opened, shown, ".plimsoll-paper")
    assert not script(opened, shown, "input.filter")
    assert not script(opened, shown, "tbody.passed")
    assert script(opened, "return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert script(opened, "return document.documentElement.scrollWidth") <= 794
    assert script(opened, BEYOND_THEIR_CHART) == []


BEYOND_THEIR_CHART = """
return [...document.querySelectorAll('.plimsoll-bars li')].filter(bar => bar.checkVisibility()).flatMap(bar => {
  const text = bar.lastElementChild, drawn = document.createRange();
  drawn.selectNodeContents(text);
  const chart = bar.closest('.plimsoll-bars').getBoundingClientRect();
  return drawn.getBoundingClientRect().right > chart.right + 0.5 ? [text.textContent] : [];
});
"""
"""Values that are cut at the edge of their chart."""


def test_nothing_is_asked_of_a_network(opened: webdriver.Chrome) -> None:
    assert script(opened, "return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert script(opened, "return document.querySelectorAll('link, iframe, script[src], object, embed').length") == 0


def test_every_picture_says_what_it_shows(opened: webdriver.Chrome) -> None:
    names = script(opened, "return [...document.querySelectorAll('figure')].map(f => [f.role || f.getAttribute('role'),"
                   " f.getAttribute('aria-label'), f.querySelectorAll('svg').length])")  # fmt: skip
    hosted = {event["variant"] for event in full_catalogue(EVERY_OUTCOME) if event["event"] == Event.SAMPLE.value}
    assert len(hosted) == 8
    assert {label.split(":")[0] for _, label, _ in names} >= {f"Memory over time of {variant}" for variant in hosted}
    assert all(role == "img" and label and pictures == 1 for role, label, pictures in names)
    unnamed = script(opened, "return [...document.querySelectorAll('input, button, [tabindex]')].filter("
                     "e => !(e.textContent.trim() || e.getAttribute('aria-label'))).length")  # fmt: skip
    assert unnamed == 0, "something that takes the focus has no name"


def search(chrome: webdriver.Chrome, text: str) -> str:
    """Type into the search box; what it then says."""
    box = chrome.find_element(By.CSS_SELECTOR, ".plimsoll-find input")
    box.clear()
    box.send_keys(text)
    return chrome.find_element(By.CSS_SELECTOR, ".plimsoll-find [role=status]").text


def visible(chrome: webdriver.Chrome, selector: str) -> int:
    count = "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).length"
    return int(script(chrome, count, selector))


def test_a_search_shows_what_fits_counts_it_and_names_failures_that_it_hides(opened: webdriver.Chrome) -> None:
    every, failed = rows(opened), visible(opened, "#results-table tbody.failed")
    assert failed == 4
    said = search(opened, "phi-3-mini-4k-instruct/nf4 load")
    shown = visible(opened, "#results-table tbody[id]")
    assert 0 < shown < 40
    assert said.startswith(f"{shown} of {every} checks shown, ")
    assert f"{failed} of {failed} failures not among them." in said
    assert visible(opened, "#results-table tbody.failed") == 0
    bars = visible(opened, ".plimsoll-bars li")
    assert 0 < bars < script(opened, "return document.querySelectorAll('.plimsoll-bars li').length")
    opened.find_element(By.CSS_SELECTOR, ".plimsoll-find button").click()
    assert visible(opened, "#results-table tbody.failed") == failed, "the button brings them back"
    assert search(opened, "int8 peak").count("failures not among") == 1, "three of them are of other variants"
    opened.find_element(By.CSS_SELECTOR, ".plimsoll-find input").send_keys(Keys.ESCAPE)
    assert visible(opened, "#results-table tbody[id]") == every
    assert opened.find_element(By.CSS_SELECTOR, ".plimsoll-find [role=status]").text == ""


def test_a_search_holds_while_the_table_is_sorted_and_boxes_hide_no_failure_silently(opened: webdriver.Chrome) -> None:
    search(opened, "tiny-phi/nf4-dq")
    shown = visible(opened, "#results-table tbody[id]")
    press(opened.find_element(By.CSS_SELECTOR, "button[data-column-type=duration]"), Keys.ENTER)
    assert visible(opened, "#results-table tbody[id]") == shown
    search(opened, " ")
    press(opened.find_element(By.CSS_SELECTOR, "input[data-test-result=failed]"), Keys.SPACE)
    said = opened.find_element(By.CSS_SELECTOR, ".plimsoll-find [role=status]").text
    assert "4 of 4 failures not among them." in said
    opened.find_element(By.CSS_SELECTOR, ".plimsoll-find button").click()
    assert visible(opened, "#results-table tbody.failed") == 4


def test_the_slash_leads_to_the_search(opened: webdriver.Chrome) -> None:
    opened.find_element(By.TAG_NAME, "body").send_keys("/")
    assert script(opened, "return document.activeElement.type") == "search"
    assert script(opened, "return document.activeElement.value") == ""


def test_every_failure_is_reached_from_the_first_screen_by_its_link(opened: webdriver.Chrome) -> None:
    links = opened.find_elements(By.CSS_SELECTOR, '[aria-label="What failed"] a[href^="#acceptance"]')
    look = "const e = document.getElementById(arguments[0]); return [e.className, e.checkVisibility()]"
    reached = set()
    for link in links:
        search(opened, "nothing has this text")
        script(opened, "arguments[0].click()", link)
        name = script(opened, "return decodeURIComponent(location.hash.slice(1))")
        WebDriverWait(opened, 60).until(lambda chrome: script(chrome, look, name)[1])  # noqa: B023 (called at once)
        classes, _ = script(opened, look, name)
        assert {"failed", "plimsoll-here"} <= set(classes.split())
        reached.add(name)
    failed = script(opened, "return [...document.querySelectorAll('#results-table tbody.failed')].map(e => e.id)")
    assert reached == set(failed)


def test_the_link_of_a_check_can_be_copied_and_opens_its_row(chrome: webdriver.Chrome, page: Path) -> None:
    emulate(chrome)
    chrome.get(page.as_uri())
    row = "acceptance/test_memory.py::test_stored_bytes[phi-3-mini-4k-instruct/nf4]"
    link = script(chrome, "return document.getElementById(arguments[0]).querySelector('.col-testId a').href", row)
    chrome.get("about:blank")
    chrome.get(link)
    place = script(chrome, "return document.getElementById(arguments[0]).getBoundingClientRect().top", row)
    assert -1 <= place < 900, "it is not in the window"
    assert script(chrome, "return document.querySelector('.plimsoll-here').id") == row
    script(chrome, "sessionStorage.clear()")


def test_a_chart_sorts_and_tells_the_exact_figure_by_keyboard(opened: webdriver.Chrome) -> None:
    chart = opened.find_element(By.CSS_SELECTOR, "#metric-vram_peak .plimsoll-bars")

    def labels() -> list[str]:
        found: list[str] = script(
            opened, "return [...arguments[0].querySelectorAll('li')].map(e => e.firstChild.textContent)", chart
        )
        return found

    first = labels()
    by_name = chart.find_elements(By.CSS_SELECTOR, ".plimsoll-sort button")[2]
    press(by_name, Keys.ENTER)
    assert labels() == sorted(first) != first
    assert by_name.get_attribute("aria-pressed") == "true"
    script(opened, "arguments[0].querySelector('li').focus()", chart)
    tip = opened.find_element(By.CSS_SELECTOR, ".plimsoll-tip")
    assert tip.is_displayed()
    assert re.search(rf"^{labels()[0]}: [\d.]+ GiB, [\d,]+ bytes; limit at most ", tip.text)


_CHART: Final = "figure[aria-label*=' llama-3.2-3b/bf16:']"
_READ_OFF: Final = """
const chart = document.querySelector(arguments[0]);
const bytes = { bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9 };
const ticks = [...chart.querySelectorAll('span[style^=top]')].map((one) => {
  const [count, unit] = one.textContent.split(' ');
  const { top, bottom } = one.getBoundingClientRect();
  return [Number(count) * bytes[unit], (top + bottom) / 2];
});
const [[low, bottom], [high, top]] = [ticks[0], ticks.at(-1)];
const line = chart.querySelector('.resident');
const matrix = line.getScreenCTM();
return [...line.getAttribute('d').matchAll(/(\\d+)-(\\d+)/g)].map(([, at, figure]) => {
  const place = new DOMPoint(Number(at), -Number(figure)).matrixTransform(matrix);
  return low + (bottom - place.y) / (bottom - top) * (high - low);
});
"""
"""The height of each sample on the screen, read off the figures beside the axis."""


@pytest.mark.parametrize("width", [390, 1440])
def test_samples_stand_on_the_screen_at_the_height_of_their_figures(opened: webdriver.Chrome, width: int) -> None:
    emulate(opened, width=width)
    script(opened, "document.querySelector(arguments[0]).closest('details').open = true", _CHART)
    sampled = [
        event["rss"]
        for event in full_catalogue(("llama-3.2-3b",))
        if event["event"] == Event.SAMPLE.value and event["variant"] == "llama-3.2-3b/bf16"
    ]
    read = script(opened, _READ_OFF, _CHART)
    assert len(read) == len(sampled) == 60
    assert read == [pytest.approx(rss, abs=0.01 * max(sampled)) for rss in sampled]


def test_a_chart_over_time_tells_each_sample_to_a_pointer_and_to_a_keyboard(opened: webdriver.Chrome) -> None:
    script(opened, "document.querySelector(arguments[0]).closest('details').open = true", _CHART)
    chart, tip = (opened.find_element(By.CSS_SELECTOR, selector) for selector in (_CHART, ".plimsoll-tip"))
    drawing = chart.find_element(By.TAG_NAME, "svg")
    sample = chart.find_element(By.CSS_SELECTOR, ".resident").get_attribute("d")
    assert sample is not None
    at, figure = max(
        ((int(at), int(figure)) for at, figure in re.findall(r"(\d+)-(\d+)", sample)), key=lambda one: one[1]
    )
    share = at / script(opened, "return arguments[0].viewBox.baseVal.width", drawing)
    webdriver.ActionChains(opened).scroll_to_element(chart).perform()
    webdriver.ActionChains(opened).move_to_element_with_offset(
        drawing, round((share - 0.5) * drawing.size["width"]), 0
    ).perform()
    told = re.fullmatch(r"llama-3.2-3b/bf16 at ([\d.]+) s: resident ([\d.]+) GB, loading", tip.text)
    assert told is not None, tip.text
    assert float(told[1]) == pytest.approx(at / 1000, rel=0.06)
    assert float(told[2]) == pytest.approx(figure / 1000, rel=0.006)
    webdriver.ActionChains(opened).move_to_element(opened.find_element(By.CSS_SELECTOR, ".plimsoll-verdict")).perform()
    assert not tip.is_displayed()
    script(opened, "delete arguments[0].dataset.at; arguments[0].focus()", chart)
    assert re.match(r"llama-3.2-3b/bf16: at most [\d.]+ GiB, [\d,]+ bytes; .* in all; loading ", tip.text)
    seen = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT):
        opened.switch_to.active_element.send_keys(key)
        seen.append(tip.text)
    assert seen[0] == seen[2] != seen[1]
    assert all("resident" in text for text in seen)
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


def test_the_contents_stand_beside_the_page_and_fold_on_a_phone(opened: webdriver.Chrome) -> None:
    emulate(opened, width=1440)
    script(opened, "window.dispatchEvent(new Event('resize'))")
    assert visible(opened, ".plimsoll-contents li") > 8
    beside = "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.left, r.right]"
    assert script(opened, beside, ".plimsoll-contents")[1] <= script(opened, beside, ".plimsoll-verdict")[0]
    emulate(opened, width=390)
    opened.refresh()
    assert visible(opened, ".plimsoll-contents li a") == 0
    opened.find_element(By.CSS_SELECTOR, ".plimsoll-contents summary").click()
    assert visible(opened, ".plimsoll-contents li a") > 8


def test_paper_takes_four_pages_for_a_run_without_failures(chrome: webdriver.Chrome, tmp_path: Path) -> None:
    events = full_catalogue(("tiny-llama", "tiny-phi", "tiny-qwen", "tiny-mistral", "tiny-mixtral"))
    write_run(tmp_path, events)
    replay(f"--replay={tmp_path}", "-q")
    emulate(chrome)
    chrome.get((tmp_path / "report.html").as_uri())
    printed = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 4


def test_paper_says_once_what_many_checks_say(chrome: webdriver.Chrome, tmp_path: Path) -> None:
    cells = [cell(f"test_{number}") for number in range(8)]
    failed = [report(one, "setup", "failed", crash("the folder is damaged")) for one in cells]
    chrome.get(replayed_page(tmp_path, [start(), plan(cells), *failed, finish(1)]).as_uri())
    emulate(chrome, width=794, media="print")
    said = """return [...document.querySelectorAll('#results-table .log')].filter(
        e => e.checkVisibility() && e.textContent.includes('the folder is damaged')).length"""
    assert script(chrome, said) == 8
    script(chrome, "window.dispatchEvent(new Event('beforeprint'))")
    assert script(chrome, said) == 1
    assert script(chrome, "return document.querySelectorAll('[data-same*=test_0]').length") == 7
    script(chrome, "window.dispatchEvent(new Event('afterprint'))")
    assert script(chrome, said) == 8


def hostile() -> list[Line]:
    """A run in which everything that others write is markup."""
    asked = cell("test_it", f"{MARKUP}/x", id=f"acceptance/test_it.py::test_it[{MARKUP}]")
    node: Line = {"hostname": MARKUP, "environment": {MARKUP: MARKUP}}
    events = [
        start(arguments=[MARKUP], packages={MARKUP: MARKUP}),
        plan([asked]),
        gate(f"{MARKUP}/x", bounds={"ram_after": {"expected": 1e6, "basis": MARKUP}}),
        load(MARKUP),
        report(asked, "setup"),
        report(asked, "call", "failed", crash(MARKUP), sections=[[MARKUP, MARKUP]]),
        report(asked, "teardown"),
        line(Event.HOST, variant=f"{MARKUP}/x", state="died", signal=MARKUP, stderr=[MARKUP], request=MARKUP),
        finish(1),
    ]
    shown = full_catalogue(EVERY_OUTCOME)[3]
    return [*events[:2], {**shown, "node": {**shown["node"], **node}}, *events[2:]]


def test_no_text_of_others_runs_or_becomes_an_element(chrome: webdriver.Chrome, tmp_path: Path) -> None:
    emulate(chrome)
    chrome.get(replayed_page(tmp_path, hostile()).as_uri())
    chrome.find_element(By.ID, "show_all_details").click()
    script(chrome, "for (const one of document.querySelectorAll('details')) { one.open = true; }")
    assert "window.owned=1" in script(chrome, "return document.body.innerText"), "it is not even shown"
    assert script(chrome, "return window.owned") is None
    assert script(chrome, "return document.querySelectorAll('script').length") == 2
    assert (
        script(chrome, "return document.querySelectorAll('[onerror], [onclick=\"alert(1)\"], img[src=x]').length") == 0
    )
    assert problems(chrome) == []


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one model that was asked one dataset: its pictures have a single panel."""
    one = asking(chosen=60)
    folder = tmp_path_factory.mktemp("asked")
    write_run(folder, run_with([one], answers(one)))
    replay(f"--replay={folder}", "-q")
    return folder / "report.html"


_DRAWN: Final = """
return [...document.querySelectorAll('.plimsoll-drawn > div')].map((frame) => {
  const picture = frame.firstElementChild, whole = picture.getBoundingClientRect();
  const outside = [...picture.querySelectorAll('text')].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1
      || box.bottom > whole.bottom + 1;
  });
  const title = picture.querySelector('title').textContent;
  return [title, frame.scrollWidth - frame.clientWidth, outside.map((text) => text.textContent)];
});
"""
"""Of each drawn picture: how much of it is out of sight, and the labels that lie outside of it."""


@pytest.mark.parametrize(("width", "cut"), [(1440, []), (390, ["AUROC of each", "Best of each", "Models at a"])])
def test_a_drawn_picture_is_whole(chrome: webdriver.Chrome, asked: Path, width: int, cut: list[str]) -> None:
    """A picture of one panel was laid out wider than its frame, on any screen; only large ones are to be scrolled."""
    emulate(chrome, width=width)
    chrome.get(asked.as_uri())
    script(chrome, "for (const one of document.querySelectorAll('details')) { one.open = true; }")
    found = script(chrome, _DRAWN)
    assert any(title.startswith("Reliability") for title, _, _ in found)
    assert [outside for _, _, outside in found if outside] == []
    assert [" ".join(title.split()[:3]) for title, hidden, _ in found if hidden > 0] == cut
