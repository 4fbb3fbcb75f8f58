"""Shared by the tests of pages: Debian's Chromium, the actions of a user, and the content of the file."""

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import alert_is_present
from selenium.webdriver.support.ui import Select, WebDriverWait

BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
needs_browser = pytest.mark.skipif(
    not (BROWSER.exists() and DRIVER.exists()), reason="needs Debian's packages chromium and chromium-driver"
)
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser whose profile lies in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """A page as a user sees it."""

    def __init__(self, driver: webdriver.Chrome, path: Path):
        self.driver, self.path = driver, path
        self.run = driver.execute_script

    def open(self, place: str = "", width: int = 1280, theme: str = "light") -> None:
        """`place` is the hash of the address; a width below 500 pixels emulates a telephone."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.theme(theme)
        self.driver.get("about:blank")
        self.driver.get(self.path.as_uri() + place)
        # On a busy machine the driver may return while the blank page is still shown.
        self.wait(lambda: self.run("return location.protocol === 'file:' && document.readyState === 'complete'"))

    def theme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.settle()

    def settle(self) -> None:
        """Waits for the next frame, by which the page has handled scrolling and a new theme."""
        self.run("await new Promise(requestAnimationFrame)")

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str, value: str = "e.textContent.toWellFormed()") -> list[Any]:
        """A value in JavaScript for each element `e`."""
        return self.run(f"return [...document.querySelectorAll(arguments[0])].map(e => {value})", selector)

    def hover(self, selector: str) -> None:
        webdriver.ActionChains(self.driver, duration=0).move_to_element(self.one(selector)).perform()

    def point(self, canvas: str, row: int, column: int, *, click: bool = False) -> None:
        """Scrolls to a canvas and moves the mouse to one of its pixels."""
        place = """const [id, row, column] = arguments, e = document.getElementById(id);
            const { left, top, width, height } = e.getBoundingClientRect();
            return [left + (column + .5) * width / e.width, top + (row + .5) * height / e.height]"""
        self.run("document.getElementById(arguments[0]).scrollIntoView({block: 'center'})", canvas)
        self.settle()
        pointer = webdriver.ActionChains(self.driver, duration=0)
        x, y = self.run(place, canvas, row, column)
        pointer.w3c_actions.pointer_action.move_to_location(int(x), int(y))
        (pointer.click() if click else pointer).perform()

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def choose(self, select: str, text: str) -> None:
        Select(self.one(select)).select_by_visible_text(text)

    def wait(self, ready: Callable[[], bool]) -> None:
        WebDriverWait(self.driver, 30).until(lambda _: ready())

    def is_at(self, **state: object) -> bool:
        """Whether the hash of the address has exactly this state."""
        return self.run("return location.hash") == "#" + "&".join(f"{name}={value}" for name, value in state.items())

    def tip(self) -> list[str]:
        """The lines of the tip, if it is visible."""
        return self.one("#tip").text.split("\n")

    def pixels(self, canvas: str) -> np.ndarray:
        """[rows, columns, red green blue opacity]"""
        data = """const e = document.getElementById(arguments[0]);
            return [e.height, e.width, ...e.getContext("2d").getImageData(0, 0, e.width, e.height).data]"""
        rows, columns, *values = self.run(data, canvas)
        return np.array(values).reshape(rows, columns, 4)

    def boxes(self, selector: str, of: str = "e") -> np.ndarray:
        """[elements, from to, x y]: the position in the window of each element, or of what `of` makes of it."""
        box = f"(r => [r.left, r.top, r.right, r.bottom])({of}.getBoundingClientRect())"
        return np.array(self.all(selector, box)).reshape(-1, 2, 2)

    def width(self) -> int:
        """Exceeds that of the window if the page scrolls sideways."""
        return self.run("return document.documentElement.scrollWidth")

    def assert_readable(self) -> None:
        """All texts, more than 150, contrast with their background by at least 4.5 (WCAG 2.2, 1.4.3)."""
        colours = """{ let behind = e;
            while (/, 0\\)/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
            const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length;
            const colours = [getComputedStyle(e).color, getComputedStyle(behind).backgroundColor];
            return own ? [...colours, e.textContent.toWellFormed()] : null; }"""
        found = [text for text in self.all("body *:not(script, option, :disabled)", colours) if text]
        assert len(found) > 150
        for ink, ground, text in found:
            low, high = sorted((luminance(ink), luminance(ground)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ink, ground)

    def assert_quiet(self) -> None:
        """The browser logged no message, opened no dialog and fetched nothing."""
        assert not alert_is_present()(self.driver)
        assert [entry["message"] for entry in self.driver.get_log("browser")] == []
        assert self.run("return performance.getEntriesByType('resource').map(e => e.name)") == []


def assert_apart(boxes: np.ndarray) -> None:
    """[n, from to, x y]: no two of them overlap."""
    for a, b in itertools.combinations(boxes, 2):
        assert ((a[1] <= b[0] + 0.5) | (b[1] <= a[0] + 0.5)).any(), (a, b)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of a colour as CSS writes it."""
    channels = np.array(re.findall(r"[\d.]+", colour)[:3], np.float64)
    channels = channels if colour.startswith("color(") else channels / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def data_of(path: Path) -> Any:
    """The data of a page; no text ends their element, and the code names no address and makes no HTML of strings."""
    element = re.compile(r'(?<=<script id="data" type="application/json">)(.*?)(?=</script>)', re.DOTALL)
    before, data, after = element.split(path.read_text(encoding="utf-8"))
    assert "<" not in data
    code = before + after
    assert not re.search(r"https?:|//\w|@import|url\(|innerHTML|insertAdjacentHTML|document\.write|eval\(", code)
    assert [code.count(end) for end in ("</style>", "</script>")] == [1, 2]
    assert "{{" not in code  # every placeholder is replaced
    return json.loads(data)


def four_digits(numbers: np.ndarray) -> np.ndarray:
    """Rounded by NumPy to four significant digits."""
    return np.vectorize(lambda n: float(np.format_float_scientific(n, 3, unique=False)))(numbers.astype(np.float64))
