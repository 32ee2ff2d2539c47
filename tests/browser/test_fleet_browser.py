"""fleet.html in a real browser: nothing is cut off on a window or a phone, and no foreign text acts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.browser import browser, emulate, problems, script
from tests.support.commands import plimsoll
from tests.support.fleet_runs import write_fleet_of

MARKUP = "<img src=x onerror='window.owned=1'><script>window.owned=2</script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    write_fleet_of(
        folder / "nodes",
        16,
        node03=lambda made: replace(made, failing=((3, "ecc"),)),
        node05=lambda made: replace(made, driver=MARKUP),
        node07=lambda made: replace(made, slow={2: 1 / 0.9}),
        node09=lambda made: replace(made, ends=False),
    )
    done = plimsoll("fleet", folder / "nodes", "--expect-nodes=17", f"--output={folder / 'fleet.html'}")
    assert done.returncode == 1, done.stderr
    return folder / "fleet.html"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_fits_its_window_and_wide_tables_scroll_by_themselves(
    chrome: webdriver.Chrome, page: Path, width: int
) -> None:
    emulate(chrome, width=width)
    problems(chrome)
    chrome.get(page.as_uri())
    assert script(chrome, "return document.documentElement.scrollWidth <= window.innerWidth") is True
    assert script(chrome, "return window.owned === undefined") is True
    assert problems(chrome) == []
    title = chrome.find_element(By.CSS_SELECTOR, ".plimsoll-verdict h1").text
    assert title.startswith("REJECTED over 17 expected nodes: 14 accepted, 1 rejected, 1 incomplete")


def test_a_failed_gpu_has_a_row_of_its_own_and_sound_nodes_share_one(chrome: webdriver.Chrome, page: Path) -> None:
    emulate(chrome)
    chrome.get(page.as_uri())
    heads = [cell.text for cell in chrome.find_elements(By.CSS_SELECTOR, "#matrix tbody th")]
    assert "node03 gpu3" in heads
    assert "node[01-02,04-08,10-16] (14 nodes)" in heads
    row = chrome.find_element(By.XPATH, "//section[@id='matrix']//th[normalize-space()='node03 gpu3']/..")
    assert [sign.get_attribute("title") for sign in row.find_elements(By.CSS_SELECTOR, ".plimsoll-badge")].count(
        "fail"
    ) == 1


def test_charts_are_sorted_and_pointed_at_as_in_the_report(chrome: webdriver.Chrome, page: Path) -> None:
    emulate(chrome)
    chrome.get(page.as_uri())
    chart = chrome.find_element(By.CSS_SELECTOR, ".plimsoll-bars")
    labels = "return [...arguments[0].querySelectorAll('li')].map((row) => row.firstChild.textContent)"
    assert script(chrome, labels, chart)[0] == "node07"
    buttons = chart.find_elements(By.CSS_SELECTOR, ".plimsoll-sort button")
    assert [button.text for button in buttons] == ["slowest first", "by name"]
    buttons[1].click()
    assert script(chrome, labels, chart) == [f"node{number:02}" for number in range(1, 17)]
    script(chrome, "arguments[0].querySelectorAll('li')[6].focus()", chart)
    tip = chrome.find_element(By.CSS_SELECTOR, ".plimsoll-tip")
    assert tip.is_displayed()
    assert tip.text.startswith("node07: ")
    assert "median" in tip.text


def test_a_plate_leads_to_the_tiles_of_its_node(chrome: webdriver.Chrome, page: Path) -> None:
    emulate(chrome)
    chrome.get(page.as_uri())
    chrome.find_element(By.XPATH, "//ul[@class='plimsoll-board']//a[.='node01']").click()
    place = script(chrome, "return location.hash.slice(1)")
    found = chrome.find_element(By.ID, place)
    assert found.get_attribute("open") is not None, "what is well is folded, and unfolds"
    assert len(found.find_elements(By.CSS_SELECTOR, ".plimsoll-tile")) == 8
    assert found.find_element(By.CSS_SELECTOR, ".plimsoll-tile").is_displayed()
