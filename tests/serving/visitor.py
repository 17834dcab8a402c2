"""A visitor of the page in a true browser, and what a page must never be: nameless, too wide or unreadable."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from playwright.sync_api import BrowserContext, Download, Page
from tests.serving.page_server import MODEL, Endpoint


class Visitor:
    """A browser window on the page, which remembers everything that should not have happened."""

    def __init__(self, context: BrowserContext, endpoint: Endpoint) -> None:
        self.context = context
        self.endpoint = endpoint
        self.page: Page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ()
        self.page.on(
            "console",
            lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        context.on("request", lambda request: self._check_host(request.url))

    def _check_host(self, url: str) -> None:
        if not url.startswith((self.endpoint.url + "/", "blob:" + self.endpoint.url + "/")):
            self.wrong.append(f"asked {url}")

    def enter(self, model: str = MODEL) -> Page:
        self.page.goto(f"{self.endpoint.url}/?token={self.endpoint.token}")
        assert self.page.url == f"{self.endpoint.url}/"  # the token does not stay in the address
        self.page.wait_for_selector("#model option", state="attached")
        self.page.select_option("#model", model)
        return self.page

    def run(self, text: str | None = None) -> None:
        if text is not None:
            self.page.fill("#sequences", text)
        self.page.click("#run")
        self.page.wait_for_selector("#run:visible")

    def download(self, selector: str) -> bytes:
        with self.page.expect_download() as waiting:
            self.page.click(selector)
        got: Download = waiting.value
        return Path(got.path()).read_bytes()

    def table(self, selector: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.download(selector).decode())))

    def ask(self, route: str, **body: Any) -> Any:
        """The same question without the page."""
        headers = {"Authorization": f"Bearer {self.endpoint.token}"}
        return (
            httpx.post(self.endpoint.url + route, json=body, headers=headers, timeout=60)
            .raise_for_status()
            .json()
        )


def defects(page: Page) -> list[Any]:
    """What a reader, a screen reader or a narrow window stumbles over on the page as it is now."""
    return [*page.evaluate(_UNNAMED), *page.evaluate(_WIDER), *_unreadable(page)]


_UNNAMED = """() => {
  const name = (e) => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
    || [...(e.labels ?? [])].map((label) => label.textContent).join("");
  const all = (selector) => [...document.querySelectorAll(selector)];
  const ids = all("[id]").map((e) => e.id);
  const controls = all("button, input, select, textarea, canvas, progress, [role=tabpanel], [role=img], svg[role]");
  const goals = all("[aria-controls], [aria-describedby], label[for]").flatMap((e) => [
    e.getAttribute("aria-describedby"), e.getAttribute("for"),
    e.getAttribute("aria-expanded") === "false" ? null : e.getAttribute("aria-controls")]);
  return [...controls.filter((e) => !name(e)).map((e) => "no name: " + e.outerHTML.slice(0, 120)),
    ...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => "twice: " + id),
    ...goals.filter((id) => id && !ids.includes(id)).map((id) => "points nowhere: " + id),
    ...(all("h1").length === 1 ? [] : ["not one h1"]),
    ...(document.documentElement.lang ? [] : ["no language"])];
}"""

_COLOURS = r"""() => {
  const isClear = (e) => /, 0\)$/.test(getComputedStyle(e).backgroundColor);
  const behind = (e) => isClear(e) && e.parentElement ? behind(e.parentElement) : e;
  const hasText = (e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && !e.matches(".unseen, :disabled, svg, svg *") && hasText(e))
    .map((e) => [e.outerHTML.slice(0, 80), getComputedStyle(e).color, getComputedStyle(behind(e)).backgroundColor]);
}"""

_WIDER = """() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  return scrollWidth > clientWidth ? [`${scrollWidth - clientWidth} pixels too wide`] : [];
}"""


def _unreadable(page: Page) -> list[tuple[str, float]]:
    """Visible texts with less contrast to what is behind them than WCAG 2 asks for (4.5)."""

    def luminance(colour: str) -> float:
        channels = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    found = []
    for text, *colours in page.evaluate(_COLOURS):
        dark, light = sorted(luminance(colour) for colour in colours)
        found.append((text, (light + 0.05) / (dark + 0.05)))
    return [(text, contrast) for text, contrast in found if contrast < 4.5]
