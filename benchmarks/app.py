"""How long a visitor waits: seconds from the click to the first picture on the screen, and to all eight with scores.

    python benchmarks/app.py [--repeats 5]

Runs the app as `python app.py` does, and a real Chromium beside it on the same cores, which a visitor's browser would
not share. So the same eight are also asked for by `gradio_client`, and made by pipeline and scorer alone. The first of
each is warm-up.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator

from common import options, running_app, timed
from gradio_client import Client
from playwright.sync_api import sync_playwright

from idgen.model import load_model
from idgen.painting import scoring
from space.actions import Recipe

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SHOWN = "document.querySelector('#pictures .open img')?.src"


def seen(address: str, times: int) -> Iterator[tuple[float, float]]:
    """Seconds in a browser until the first picture, and until all eight."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        page.wait_for_selector("#sampled .person")
        for person in range(100, 100 + times):
            before = page.evaluate(f"{SHOWN} ?? ''")
            page.fill("#who input", str(person))
            page.wait_for_function(f"document.querySelector('#sampled').innerText.includes('Person {person}')")
            began = time.perf_counter()
            page.click("#generate")
            page.wait_for_function(f"old => ({SHOWN} ?? old) !== old", arg=before)
            first = time.perf_counter() - began
            page.wait_for_function(
                "!document.querySelector('#summary .running')"
                " && document.querySelectorAll('#pictures .open').length === 8"
            )
            yield first, time.perf_counter() - began
        browser.close()


def called(address: str, times: int) -> Iterator[float]:
    """Seconds until a program without a browser has the scores and the addresses of the pictures."""
    client = Client(address, verbose=False, download_files=False)
    for person in range(200, 200 + times):
        yield timed(client.predict, person=person, api_name="/generate")[0]


def alone(times: int) -> Iterator[float]:
    """Seconds for the same work without an app."""
    model = load_model("nobody-128")
    recipe, score = Recipe.of(model).options(), scoring(model)
    people = model.sampler.sample(times, 300)
    for person in (people[number] for number in range(times)):
        began = time.perf_counter()
        score(model.pipeline(person, 8, **recipe).images, [person] * 8)
        yield time.perf_counter() - began


if __name__ == "__main__":
    args = options(__doc__, repeats=5)
    with running_app() as (_, address):
        first, everything = zip(*seen(address, args.repeats + 1), strict=True)
        by_client = list(called(address, args.repeats + 1))
    ways = {"first_picture": first, "eight_pictures_with_scores": everything, "eight_by_gradio_client": by_client}
    ways["eight_by_pipeline_and_scorer"] = list(alone(args.repeats + 1))
    figures = {
        name: {"median_s": round(statistics.median(values[1:]), 2), "worst_s": round(max(values[1:]), 2)}
        for name, values in ways.items()
    }
    print(json.dumps({"cores": os.cpu_count(), "repeats": args.repeats, **figures}))
