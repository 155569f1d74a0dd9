"""The app in a real browser, clicked through as a visitor would, on the model that ships.

Screenshots go to `screenshots/`, which git ignores.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from idgen.hub import load_model
from idgen.identity import Identities
from space import actions

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 300_000  # milliseconds; a shared machine is slow, and waiting costs nothing when it is not
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def _missing(what: str) -> None:
    """Without a browser there is nothing to test: fine at home, a failure where the result counts."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI must run the browser test")
    pytest.skip(what)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("Playwright is not installed (pip install playwright)")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        _missing("there is no Chromium (apt-get install chromium, or CHROMIUM=/path/to/it)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(load_model("nobody-128"), tmp_path_factory.mktemp("gradio")) as url:
        yield url


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A "photo" with a face in it, of somebody who does not exist: a generated one, off centre in a larger picture."""
    model = load_model("nobody-128")
    image = actions.generate(model, actions.sample(model, 3)[0], images=1, seed=2).images[0].image
    canvas = Image.new("RGB", (480, 360), (176, 182, 190))
    canvas.paste(image.resize((224, 224), Image.Resampling.BICUBIC), (70, 60))
    file = io.BytesIO()
    canvas.save(file, "JPEG", quality=92)
    return file.getvalue()


@contextmanager
def visit(browser: Any, address: str, size: dict, dark: bool = False) -> Iterator[Any]:
    """A page that notes every request to another machine and every error, and must have neither in the end."""
    context = browser.new_context(
        viewport=size, color_scheme="dark" if dark else "light", reduced_motion="reduce", accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    outside: list[str] = []
    errors: list[str] = []
    ours = (address, "data:", "blob:")
    page.on("request", lambda request: request.url.startswith(ours) or outside.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.goto(address)
    page.wait_for_selector("#sampled .person")
    yield page
    assert outside == [], "the page asked another machine for something"
    assert errors == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size["width"], f"the page is {width} pixels wide and scrolls sideways"
    context.close()


def shoot(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def settled(page: Any, count: int) -> str:
    """Wait for `count` pictures with their scores; the sentence above them."""
    page.wait_for_function(
        "n => document.querySelectorAll('#pictures .thumbnail-item img').length === n"
        " && [...document.querySelectorAll('#pictures img')].every(i => i.complete && i.naturalWidth > 0)"
        " && document.querySelectorAll('#evidence tbody tr').length === n",
        arg=count,
    )
    return page.inner_text("#summary h2")


def choose(page: Any, count: int) -> None:
    page.fill("#images input[type=number]", str(count))
    page.press("#images input[type=number]", "Tab")


def test_sample_generate_scores(browser: Any, address: str, tmp_path: Path) -> None:
    with visit(browser, address, DESKTOP) as page:
        assert page.input_value("#who input") == "7", "the first person's seed is shown"
        shoot(page, "desktop-1-empty")
        page.click("#generate")
        sentence = settled(page, 8)
        assert re.fullmatch(r"(None|\d) of 8 (is|are) the same person, says the judge, .* 1 in 1,000\.", sentence)
        assert page.locator("#empty").is_hidden()
        assert page.locator("#evidence svg.plot").count() == 2
        assert page.locator("#evidence .dot.pass, #evidence .dot.fail").count() == 8 + 1  # and the legend's
        matches = page.locator("#evidence .chip.pass").count()
        assert re.match(rf"{matches}\s*of 8", page.inner_text("#summary .tally"))
        # What a chip says and its colour agree, over the pictures as in the table.
        colours = {True: set(), False: set()}
        for shown in page.locator("#pictures .caption-label").all():
            colours["✓" in shown.inner_text()].add(shown.evaluate("chip => getComputedStyle(chip).color"))
        assert not colours[True] & colours[False] and all(len(one) <= 1 for one in colours.values())
        if colours[False] and page.locator("#evidence .chip.fail").count():
            table = page.locator("#evidence .chip.fail").first.evaluate("chip => getComputedStyle(chip).color")
            assert colours[False] == {table}
        shoot(page, "desktop-2-scores")

        with page.expect_download() as zipped:
            page.click("#zip")
        assert len(zipfile.ZipFile(zipped.value.path()).namelist()) == 8 + 1
        with page.expect_download() as identity:
            page.click("#identity-file")
        identity.value.save_as(tmp_path / "identity.safetensors")
        assert Identities.load(tmp_path / "identity.safetensors")[0].source == "sampled, seed 7, number 0"

        before = page.get_attribute("#pictures img >> nth=0", "src")
        page.click("#sample")  # one click: somebody new, painted at once
        page.wait_for_function("src => document.querySelector('#pictures img')?.src !== src", arg=before)
        settled(page, 8)
        seed = page.input_value("#who input")
        assert seed != "7" and f"Person {seed}" in page.inner_text("#sampled")


def test_upload_generate(browser: Any, address: str, photo: bytes) -> None:
    with visit(browser, address, DESKTOP) as page:
        page.get_by_role("tab", name="A photo").click()
        page.wait_for_selector("#consent")
        assert page.locator("#photo input[type=file]").count() == 0, "no consent, no place to drop a photo"
        page.click("#consent input")
        page.wait_for_selector("#photo input[type=file]", state="attached")
        shoot(page, "desktop-3-consent")
        file = {"name": "somebody.jpg", "mimeType": "image/jpeg", "buffer": photo}
        page.set_input_files("#photo input[type=file]", files=[file])
        page.wait_for_selector("#found img.found")
        assert page.get_attribute("#found img.found", "src").startswith("data:"), "shown from memory, not from a file"
        choose(page, 4)
        page.click("#generate")
        settled(page, 4)
        shoot(page, "desktop-4-photo")


def test_what_is_no_picture_gets_a_sentence(browser: Any, address: str) -> None:
    with visit(browser, address, DESKTOP) as page:
        page.get_by_role("tab", name="A photo").click()
        page.click("#consent input")
        page.wait_for_selector("#photo input[type=file]", state="attached")
        file = {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear sir or madam"}
        page.set_input_files("#photo input[type=file]", files=[file])
        page.wait_for_selector(".toast-body.error")
        assert page.inner_text(".toast-body.error .toast-message-text").rstrip().endswith(".")
        assert page.locator("#found img").count() == 0
        page.wait_for_selector("#photo input[type=file]", state="attached")  # ready for another photo
        shoot(page, "desktop-5-no-picture")


@pytest.mark.parametrize(
    ("name", "size", "dark"), [("phone", PHONE, False), ("phone-dark", PHONE, True), ("dark", DESKTOP, True)]
)
def test_other_screens(browser: Any, address: str, name: str, size: dict, dark: bool) -> None:
    with visit(browser, address, size, dark) as page:
        shoot(page, f"{name}-1-empty")
        choose(page, 4)
        page.click("#generate")
        settled(page, 4)
        shoot(page, f"{name}-2-scores")
