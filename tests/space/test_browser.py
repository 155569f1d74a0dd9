"""The app in a real browser, clicked through as a visitor would, on the model that ships.

Screenshots go to `screenshots/`, which git ignores; `make picture` makes the README's picture with this file.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from idgen.ground import provenance
from idgen.ground.identity import Identities
from idgen.model import Model
from space import actions, again
from space.actions import Recipe
from space.models import Models
from space.opening import SEED
from space.settings import Settings

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-component-update", "--disable-background-networking"]
PATIENCE = int(os.environ.get("PATIENCE", 120_000))  # milliseconds; waiting costs nothing when it is not needed
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path or not find_spec("playwright"):
        without = pytest.fail if os.environ.get("CI") == "true" else pytest.skip  # CI must run it
        without("There is no Playwright (pip install playwright) or Chromium (apt install chromium, or CHROMIUM=PATH)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(serving, built_in: Model, unjudged: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(Models([built_in, unjudged]), tmp_path_factory.mktemp("gradio")) as url:
        yield url


@pytest.fixture(scope="module")
def photos(portraits: list[bytes]) -> list[dict]:
    """Portraits of two people, as uploads."""
    return [{"name": f"{k}.jpg", "mimeType": "image/jpeg", "buffer": file} for k, file in enumerate(portraits)]


@contextmanager
def visit(browser: Any, address: str, size: dict = DESKTOP, dark: bool = False) -> Iterator[Any]:
    """A page that notes every request to another machine and every error, and must have neither in the end."""
    scheme = "dark" if dark else "light"
    page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce", accept_downloads=True)
    page.set_default_timeout(PATIENCE)
    outside, errors = [], []
    ours = (address.split("?")[0], "data:", "blob:")
    page.on("request", lambda request: request.url.startswith(ours) or outside.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.goto(address)
    page.wait_for_selector("#sampled .person", state="attached")
    page.wait_for_selector("html[data-opened]")  # what is filled in before would be overwritten
    yield page
    assert outside == [], "the page asked another machine for something"
    assert errors == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size["width"], f"the page is {width} pixels wide and scrolls sideways"
    page.close()


def shoot(page: Any, name: str, full_page: bool = True) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.mouse.move(0, 0)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)


def settled(page: Any, count: int) -> str:
    """Wait for `count` pictures with their scores; the sentence above them."""
    page.wait_for_function(
        "n => document.querySelectorAll('#pictures .open img').length === n"
        " && document.querySelectorAll('#evidence tbody tr').length === n"
        " && !document.querySelector('#summary .running')",
        arg=count,
    )
    return page.inner_text("#summary h2")


def choose(page: Any, count: int) -> None:
    page.fill("#images input[type=number]", str(count))
    page.press("#images input[type=number]", "Tab")


def choose_converted(page: Any) -> None:
    page.click("#model input")
    page.get_by_role("option", name="converted").click()


def generate(page: Any, count: int) -> str:
    choose(page, count)
    page.click("#generate")
    return settled(page, count)


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def consent(page: Any, box: str = "consent", drop: str = "photo") -> None:
    assert page.locator(f"#{drop} input[type=file]").count() == 0, "no consent, no place to drop a photo"
    page.click(f"#{box} input")
    page.wait_for_selector(f"#{drop} input[type=file]", state="attached")


def upload(page: Any, drop: str, *files: dict) -> None:
    page.set_input_files(f"#{drop} input[type=file]", files=list(files))


def stop(page: Any, button: str, note: str) -> None:
    page.click(button)
    page.wait_for_selector(f"{note} .early")


def measured(page: Any) -> None:
    page.wait_for_selector("#explored .running", state="detached")


def waits(page: Any) -> None:
    page.wait_for_function("/queue: \\d\\/\\d/.test(document.body.innerText)")


def says(page: Any, where: str, text: str) -> None:
    page.wait_for_function(f"document.querySelector('{where}')?.innerText.includes('{text}')")


def pictures(page: Any, where: str = "#pictures") -> list[str]:
    return page.eval_on_selector_all(f"{where} .open img", "images => images.map(image => image.src)")


@contextmanager
def busy(address: str) -> Iterator[None]:
    """Somebody else's long work, so that everything waits in the queue."""
    from gradio_client import Client

    client = Client(address, verbose=False)
    job = client.submit(16, 100, api_name="/generate")
    while not job.outputs():
        time.sleep(0.1)
    yield
    job.cancel()
    client.predict(7, api_name="/sample")  # it comes after everything that waited


def test_one_person(browser: Any, address: str, built_in: Model, tmp_path: Path) -> None:
    with visit(browser, address) as page:
        assert page.input_value("#who input") == "7", "the first person's seed is shown"
        assert page.locator("#stop").is_hidden()
        shoot(page, "desktop-one-1-empty")
        page.click("#generate")
        page.wait_for_selector("#stop", state="visible")
        page.wait_for_function("document.querySelectorAll('#pictures .open').length > 0")
        place = page.locator("#pictures li").first.bounding_box()
        assert page.locator("#pictures li").count() == 8, "every picture has its place from the start"
        shoot(page, "desktop-one-2-going")
        said = r"(None|\d) of 8 (is|are) the wanted person, says the independent judge, .* 1 in 1,000, measured on .*\."
        assert re.fullmatch(said, settled(page, 8))
        assert page.locator("#pictures li").first.bounding_box() == place, "nothing jumps"
        assert page.locator("#empty").is_hidden() and page.locator("#stop").is_hidden()
        assert page.locator("#evidence svg.plot").count() == 2
        matches = page.locator("#pictures .chip.pass").count()
        assert matches == page.locator("#evidence td .chip.pass").count()
        assert re.match(rf"{matches}\s*of 8", page.inner_text("#summary .tally"))

        page.locator("#evidence .cell[data-row='2'][data-column='5']").hover()
        assert page.locator(".pair img").count() == 2 and "Pictures 2 and 5" in page.inner_text(".pair")
        page.locator("#pictures .open").first.click()
        page.wait_for_selector("dialog.lightbox[open]")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog.lightbox", state="detached")
        page.click("#evidence details summary")
        shoot(page, "desktop-one-3-scores")

        for button, name in (("zip", "x.zip"), ("sheet", "x.png"), ("identity-file", "identity.safetensors")):
            with page.expect_download() as download:
                page.click(f"#{button}")
            download.value.save_as(tmp_path / name)
        assert len(zipfile.ZipFile(tmp_path / "x.zip").namelist()) == 8 + 1
        assert Image.open(tmp_path / "x.png").format == "PNG"
        assert Identities.load(tmp_path / "identity.safetensors")[0].source == "sampled, seed 7, number 0"

        page.click("#again-one button")
        says(page, "#code-one", "idgen generate")
        once = again.pictures(actions.sample(built_in, 7)[0], Recipe.of(built_in), built_in.name)
        assert once.python.splitlines()[-1] in page.inner_text("#code-one")
        shoot(page, "desktop-one-4-again")

        before = pictures(page)
        page.click("#sample")  # one click: somebody new, painted at once
        page.wait_for_function("src => document.querySelector('#pictures img')?.src !== src", arg=before[0])
        settled(page, 8)
        seed = page.input_value("#who input")
        assert seed != "7" and f"Person {seed}" in page.inner_text("#sampled")


def test_a_link_shows_the_same_again(browser: Any, address: str) -> None:
    with visit(browser, address) as page:
        choose(page, 2)
        page.fill("#who input", "33")
        says(page, "#sampled", "Person 33")
        page.click("#generate")
        settled(page, 2)
        page.wait_for_function("location.search.includes('person=33')")
        link, first = page.input_value("#link-one :is(input, textarea)"), pictures(page)
        assert link == page.url
    with visit(browser, link) as page:
        settled(page, 2)
        assert pictures(page) == first, "the very pixels"
    with visit(browser, f"{address}/?person=x&pictures=1e9&steps=-1&tab=nowhere&model=/etc") as page:
        assert page.input_value("#who input") == "7", "a link that says nonsense is a fresh page"
        page.wait_for_selector("#pictures .open")


def test_how_they_look(browser: Any, serving: Any, told: Model, small: Model, tmp_path: Path) -> None:
    with serving(Models([told, small]), tmp_path / "gradio") as address, visit(browser, address) as page:
        choose(page, 2)
        page.click("#how button")
        page.wait_for_selector("#set-yaw input", state="visible")
        page.focus("#set-yaw input")
        page.keyboard.press("Space")
        page.wait_for_selector("#how-yaw input[type=number]", state="visible")
        page.fill("#how-yaw input[type=number]", "40")
        page.keyboard.press("Tab")
        page.click("#generate")
        settled(page, 2)
        page.wait_for_function("location.search.includes('with=yaw')")
        page.click("#again-one button")
        says(page, "#code-one", "attributes=")
        first, link = pictures(page), page.url
        shoot(page, "told-1-panel")
        page.click("#strip-yaw")
        page.wait_for_selector("#turned .keep")
        assert page.locator("#turned .tile").count() == 9
        with page.expect_download() as download:
            page.click("#turned a.keep")
        download.value.save_as(tmp_path / "x.webp")
        assert "trainedAlgorithmicMedia" in provenance.read(tmp_path / "x.webp")["digital_source_type"]
        page.wait_for_function("location.search.includes('tab=turn-yaw')")
        strip, turned = page.url, [one.get_attribute("src") for one in page.locator("#turned .tile img").all()]
        shoot(page, "told-2-turned")
        page.click("#sample")
        page.wait_for_selector("#turned .keep", state="detached")
        with visit(browser, link) as again_here:
            settled(again_here, 2)
            assert pictures(again_here) == first and again_here.is_checked("#set-yaw input")
        with visit(browser, strip) as again_here:
            again_here.wait_for_selector("#turned .keep")
            assert [one.get_attribute("src") for one in again_here.locator("#turned .tile img").all()] == turned


def test_stop_really_stops(browser: Any, address: str) -> None:
    with visit(browser, address) as page:
        choose(page, 16)
        page.click("#generate")
        page.wait_for_selector("#pictures .open")
        stop(page, "#stop", "#note-one")
        page.wait_for_selector("#stop", state="hidden")
        assert "Person 7" in page.inner_text("#summary"), "whose pictures these are"
        assert page.locator("#summary .bar").count() == 0
        page.wait_for_timeout(1000)  # what was on its way when stop was clicked has come
        done = len(pictures(page))
        time.sleep(3)
        assert len(pictures(page)) == done < 16
        shoot(page, "desktop-one-5-stopped")
        sentence = generate(page, 1)
        assert page.inner_text("#note-one") == ""
        with busy(address):
            page.click("#generate")
            waits(page)
            stop(page, "#stop", "#note-one")
            shoot(page, "desktop-one-7-stopped-waiting")
        assert page.inner_text("#summary h2") == sentence, "the verdict on the pictures that stay"


def test_a_photo_that_waited_does_not_come_after_nobody(browser: Any, address: str, photos: list[dict]) -> None:
    with visit(browser, address) as page:
        tab(page, "Photos")
        consent(page)
        with busy(address):
            upload(page, "photo", photos[0])
            waits(page)
            tab(page, "Nobody")
            page.wait_for_selector("#sampled .person >> text=Person 7")
        page.wait_for_timeout(1000)
        generate(page, 1)
        assert "Person 7" in page.inner_text("#summary .whose") and "may be behind" not in page.inner_text("#summary")
        tab(page, "Two people")
        assert "does not exist" in page.inner_text("#first")


def test_another_model_reads_the_photo_anew(browser: Any, address: str, photos: list[dict]) -> None:
    with visit(browser, address) as page:
        tab(page, "Photos")
        consent(page)
        upload(page, "photo", photos[0])
        page.wait_for_selector("#found img.found")
        assert "on pictures of another kind there is no verdict" in page.inner_text("#found")
        page.wait_for_selector("#photo input[type=file]", state="attached")
        generate(page, 1)
        assert "From a photo" in page.inner_text("#summary .whose")
        choose_converted(page)
        says(page, "#found", "choose the photos again")
        assert page.locator("#found img").count() == 0
        page.click("#generate")
        page.wait_for_selector(".toast-body.error")
        assert "From a photo" in page.inner_text("#summary .whose"), "whose the pictures that stay are"
        shoot(page, "desktop-photo-4-another-model")


def test_who_waits_sees_the_place_in_the_queue(browser: Any, address: str) -> None:
    with visit(browser, address) as first, visit(browser, address) as second, visit(browser, address) as third:
        for page in (first, second, third):
            choose(page, 4)
        for page in (first, second, third):
            page.click("#generate")
            page.wait_for_timeout(300)
        waits(third)
        shoot(third, "desktop-one-6-queue")
        for page in (second, third):
            settled(page, 4)


def test_photos(browser: Any, address: str, photos: list[dict]) -> None:
    with visit(browser, address) as page:
        tab(page, "Photos")
        consent(page)
        shoot(page, "desktop-photo-1-consent")
        upload(page, "photo", {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear sir or madam"})
        page.wait_for_selector(".toast-body.error")
        assert page.inner_text(".toast-body.error .toast-message-text").rstrip().endswith(".")
        assert page.locator("#found img").count() == 0
        page.wait_for_selector("#photo input[type=file]", state="attached")  # ready for another photo
        shoot(page, "desktop-photo-3-no-picture")
        upload(page, "photo", photos[0], photos[0])
        page.wait_for_function("document.querySelectorAll('#found img.found').length === 2")
        assert page.get_attribute("#found img.found >> nth=0", "src").startswith("data:"), "not from a file"
        assert "averaged" in page.inner_text("#found")
        generate(page, 4)
        assert page.input_value("#link-one :is(input, textarea)") == "", "a link would have to hold the face"
        assert "person=" not in page.url
        shoot(page, "desktop-photo-2-scores")
        tab(page, "Two people")
        assert "may be behind" in page.inner_text("#first") and "does not exist" not in page.inner_text("#first")
        tab(page, "One person")
        page.wait_for_selector("#photo input[type=file]", state="attached")
        upload(page, "photo", {"name": "letter.png", "mimeType": "image/png", "buffer": b"Dear sir or madam"})
        page.wait_for_function("!document.querySelector('#found img')")
        tab(page, "Two people")
        says(page, "#first", "Nobody")


def test_a_vector_from_a_file_and_a_model_without_a_judge(browser: Any, address: str, small: Model) -> None:
    content = io.BytesIO()
    np.save(content, actions.sample(small, 5)[0].vector.numpy())
    with visit(browser, address) as page:
        choose_converted(page)
        says(page, "#sampled", "cannot invent people")
        tab(page, "Vector")
        page.wait_for_function(f"document.body.innerText.includes({small.encoder.space!r})")
        page.fill("#space :is(input, textarea)", small.encoder.space)
        upload(page, "vector", {"name": "me.npy", "mimeType": "", "buffer": content.getvalue()})
        page.wait_for_selector("#brought .person")
        assert "may be behind" in page.inner_text("#brought") or "from outside" in page.inner_text("#brought")
        assert "has no independent judge" in generate(page, 3)
        assert page.locator("#pictures .chip.pass, #pictures .chip.fail").count() == 0
        shoot(page, "desktop-vector-no-judge")


def test_a_click_on_a_face_takes_it(browser: Any, address: str, photos: list[dict]) -> None:
    """By its number, and on the photo, which only the page still has."""
    faces = [Image.open(io.BytesIO(photo["buffer"])).convert("RGB").resize((200, 150)) for photo in photos[:2]]
    both = Image.new("RGB", (360, 150))
    both.paste(faces[0], (0, 0))
    both.paste(faces[1].resize((160, 120)), (200, 20))
    group = {"name": "group.jpg", "mimeType": "image/jpeg"}
    group["buffer"] = provenance.encode(both, {"model": "nobody-128"}, "JPEG", quality=95)  # type: ignore[assignment]
    with visit(browser, address) as page:
        tab(page, "Photos")
        consent(page)
        upload(page, "photo", group)
        page.wait_for_selector("#found .faces button")
        seen = page.get_attribute("#found .person img.face", "src")
        first, another = (
            seen,
            "old => ![null, old].includes(document.querySelector('#found .person img.face')?.src ?? null)",
        )
        page.locator("#found .faces button").nth(1).click()
        page.wait_for_function(another, arg=first)
        second = page.get_attribute("#found .person img.face", "src")
        place = page.locator("#found .faces button").nth(0)
        x, y = (float(place.get_attribute(f"data-{side}") or 0) for side in "xy")
        photo = page.locator("#found img.choose")
        box, (width, height) = photo.bounding_box(), photo.evaluate("one => [one.naturalWidth, one.naturalHeight]")
        scale = min(box["width"] / width, box["height"] / height)
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.click(middle[0] + (x - 0.5) * width * scale, middle[1] + (y - 0.5) * height * scale)
        page.wait_for_function(another, arg=second)
        shoot(page, "desktop-photo-5-several-faces")


def test_two_people(browser: Any, address: str, photos: list[dict]) -> None:
    with visit(browser, f"{address}/?steps=20") as page:  # so slow that it can be stopped
        tab(page, "Two people")
        shoot(page, "desktop-two-1-empty")
        page.click("#morph")
        page.wait_for_selector("#strip svg.plot")
        strip = pictures(page, "#strip")
        page.wait_for_selector("#stop-morph", state="hidden")
        page.wait_for_timeout(1000)  # a click while the first run ends is no second one
        page.click("#morph")
        page.wait_for_selector("#strip-coming .running")
        assert page.locator("#strip .open").first.is_hidden()
        stop(page, "#stop-morph", "#note-morph")
        page.wait_for_selector("#strip-coming .running", state="detached")
        assert page.inner_text("#strip-coming") == ""
        shoot(page, "desktop-two-4-stopped")
        assert page.locator("#strip .open").first.is_visible() and pictures(page, "#strip") == strip
        assert page.locator("#strip .dot.a").count() == actions.MORPH + 1  # and the legend's
        page.wait_for_function("location.search.includes('tab=two')")
        shoot(page, "desktop-two-2-morph")
        link = page.url
        tab(page, "Compare two pictures")
        consent(page, "agreed", "couple")
        upload(page, "couple", *photos)
        page.wait_for_selector("#compared .chip.fail")
        page.wait_for_function("!document.querySelector('#couple .file-preview')")  # else these two are taken away
        page.wait_for_selector("#couple input[type=file]", state="attached")
        upload(page, "couple", photos[0], photos[0])
        page.wait_for_selector("#compared .chip.pass")
        assert "Same person, says the judge" in page.inner_text("#compared")
        shoot(page, "desktop-two-3-compare")
    with visit(browser, link) as page:
        page.wait_for_selector("#strip svg.plot")
        assert pictures(page, "#strip") == strip


def test_explore(browser: Any, address: str) -> None:
    with visit(browser, address) as page:
        tab(page, "Explore")
        shoot(page, "desktop-explore-1-empty")
        page.fill("#strength input[type=number]", "1")
        page.click("#measure")
        page.wait_for_selector("#explored .dot.newest")
        measured(page)
        assert page.locator("#explored .dot.newest").count() == 1
        page.fill("#strength input[type=number]", "3")
        page.click("#measure")
        page.wait_for_function("document.querySelectorAll('#explored .dot.older').length === 1")
        measured(page)
        page.click("#curve")
        points = len(actions.VARIATIONS)
        page.wait_for_function(f"document.querySelectorAll('#explored .row').length === {points}")
        measured(page)
        page.click("#near")
        page.wait_for_function("document.querySelectorAll('#neighbours .names li').length === 5")
        page.wait_for_function("location.search.includes('tab=near')")
        shoot(page, "desktop-explore-2-curve")
        link = page.url
    with visit(browser, link) as page:
        page.wait_for_function("document.querySelectorAll('#neighbours .names li').length === 5")


def test_what_was_measured_stays_after_stop_and_nobody_elses_does(browser: Any, address: str) -> None:
    with visit(browser, f"{address}/?steps=20") as page:  # so slow that it can be stopped
        tab(page, "Explore")
        page.click("#curve")
        page.wait_for_function("document.querySelectorAll('#explored .dot.newest').length === 1")
        stop(page, "#stop-curve", "#note-explore")
        measured(page)
        kept = page.locator("#explored .dot").count()  # a slow machine measures the next one before it stops
        assert 1 <= kept == page.locator("#explored .row").count() < len(actions.VARIATIONS)
        page.wait_for_selector("#stop-curve", state="hidden")
        page.wait_for_timeout(1000)  # a run that begins while Gradio is still cancelling is cancelled, too
        shoot(page, "desktop-explore-3-stopped")
        page.fill("#spread input[type=number]", "0.9")
        page.click("#measure")
        page.wait_for_selector("#explored .running")
        assert page.inner_text("#note-explore") == ""
        page.wait_for_function(f"document.querySelectorAll('#explored .dot').length === {kept + 1}")
        measured(page)
        page.wait_for_timeout(500)  # the button and the field both asked
        measured(page)
        with busy(address):  # it is so short that it would be over before it is stopped
            page.click("#near")
            waits(page)
            stop(page, "#stop-curve", "#note-explore")
        assert page.locator("#explored .dot").count() == kept + 1, "nearest has nothing to do with the curve"
        page.wait_for_timeout(1000)

        page.click("#curve")
        page.wait_for_selector("#explored .running")
        tab(page, "One person")
        page.fill("#who input", "33")
        says(page, "#explored-person", "Person 33")
        tab(page, "Explore")
        page.wait_for_selector("#explored .empty")
        page.wait_for_timeout(1000)
        assert page.inner_text("#note-explore") == "", "that run is no longer anybody's business"
        page.fill("#spread input[type=number]", "0.2")
        page.click("#measure")
        page.wait_for_function("document.querySelectorAll('#explored .dot').length === 1")
        page.wait_for_timeout(500)
        measured(page)
        assert page.locator("#explored .dot").count() == 1, "the other person's points are gone"


def test_what_is_refused_takes_nothing_away(browser: Any, serving: Any, small: Model, tmp_path: Path) -> None:
    with serving(small, tmp_path, Settings(requests_per_minute=1)) as address, visit(browser, address) as page:
        tab(page, "Explore")
        page.click("#measure")
        page.wait_for_selector("#explored .dot")
        measured(page)
        before = page.inner_html("#explored .strip")
        page.click("#measure")
        page.wait_for_selector(".toast-body.error")
        page.wait_for_timeout(500)
        assert page.inner_html("#explored .strip") == before and page.inner_text("#note-explore") == ""
        shoot(page, "desktop-explore-4-refused")


@pytest.mark.parametrize(("name", "size", "dark"), [("phone", PHONE, False), ("dark", DESKTOP, True)])
def test_other_screens(browser: Any, address: str, name: str, size: dict, dark: bool, photos: list[dict]) -> None:
    with visit(browser, address, size, dark) as page:
        generate(page, 4)
        shoot(page, f"{name}-one-scores")
        tab(page, "Two people")
        page.click("#morph")
        page.wait_for_selector("#strip svg.plot")
        shoot(page, f"{name}-two-morph")
        tab(page, "Compare two pictures")
        consent(page, "agreed", "couple")
        upload(page, "couple", *photos)
        page.wait_for_selector("#compared .chip")
        shoot(page, f"{name}-two-compare")
        tab(page, "Explore")
        page.fill("#spread input[type=number]", "0.5")
        page.click("#measure")
        page.wait_for_selector("#explored .dot.newest")
        measured(page)
        shoot(page, f"{name}-explore")


_NAMELESS = """() => [...document.querySelectorAll("button, input, textarea, select, a, [role=tab]")]
  .filter((one) => one.offsetParent && !one.disabled && !one.closest("footer:not(.colophon)"))
  .filter((one) => !(one.getAttribute("aria-label") || one.innerText?.trim() || one.title || one.labels?.length
    && [...one.labels].some((label) => label.innerText.trim()) || one.getAttribute("aria-labelledby")))
  .map((one) => one.outerHTML.slice(0, 200))"""


def test_with_a_keyboard_and_a_screen_reader(browser: Any, address: str) -> None:
    with visit(browser, address) as page:
        choose(page, 2)
        page.focus("#generate")
        page.keyboard.press("Enter")
        settled(page, 2)
        page.focus("#pictures .open >> nth=0")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog.lightbox[open]")
        page.keyboard.press("Escape")
        for image in page.locator("#pictures .open img").all():
            assert re.search(r"AI-generated: (not )?the same person, \d\.\d\d", image.get_attribute("alt"))
        assert all(plot.get_attribute("aria-label") for plot in page.locator("svg.plot").all())
        assert page.locator("#summary [aria-live=polite]").count() == 1, "the verdict is read out"
        for name in ("One person", "Two people", "Explore"):
            tab(page, name)
            assert page.evaluate(_NAMELESS) == [], "everything that can be used has a name"


def test_the_readmes_picture(browser: Any, serving: Any, built_in: Model, tmp_path: Path) -> None:
    """One person with their pictures, as a fresh install shows them."""
    with serving(built_in, tmp_path) as address, visit(browser, address, {"width": 1280, "height": 1330}) as page:
        page.fill("#who input", str(SEED))
        says(page, "#sampled", f"Person {SEED}")
        page.click("#generate")
        settled(page, 8)
        shoot(page, "readme", full_page=False)
    shown = Image.open(SCREENSHOTS / "readme.png").convert("RGB")
    assert len(set(shown.resize((64, 64)).getdata())) > 500, "there is something on it"
    shown.save(SCREENSHOTS / "readme.png", optimize=True)
