"""How long a visitor waits: seconds from the click to the first picture on the screen, and to all eight with scores.

    python benchmarks/app.py [--repeats 5]

Runs the app as `python app.py` does, and a real Chromium beside it on the same cores, which a visitor's browser would
not share. So the same eight are also asked for by `gradio_client`, and made by pipeline and scorer alone. The first of
each is warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def main() -> None:
    """Print JSON: the median and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats

    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as cache, open(os.devnull, "w") as quiet:
        environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": cache}
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=Path(__file__).parents[1], env=environment, stdout=quiet, stderr=quiet
        )
        first, everything, by_client = [], [], []
        try:
            until = time.monotonic() + 120
            while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
                time.sleep(0.2)
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium") or shutil.which("chromium-browser")
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                page = browser.new_page()
                page.set_default_timeout(120_000)
                page.goto(f"http://127.0.0.1:{port}/")
                page.wait_for_selector("#sampled .person")
                for number in range(repeats + 1):
                    shown = page.evaluate("document.querySelector('#pictures .open img')?.src ?? ''")
                    page.fill("#who input", str(100 + number))
                    page.wait_for_function(
                        f"document.querySelector('#sampled').innerText.includes('Person {100 + number}')"
                    )
                    began = time.perf_counter()
                    page.click("#generate")
                    page.wait_for_function(
                        "old => (document.querySelector('#pictures .open img')?.src ?? old) !== old", arg=shown
                    )
                    first.append(time.perf_counter() - began)
                    page.wait_for_function(
                        "!document.querySelector('#summary .running')"
                        " && document.querySelectorAll('#pictures .open').length === 8"
                    )
                    everything.append(time.perf_counter() - began)
                browser.close()
            by_client = list(called(f"http://127.0.0.1:{port}", repeats + 1))
        finally:
            app.terminate()
            app.wait(30)
    figures = {
        name: {"median_s": round(statistics.median(values[1:]), 2), "worst_s": round(max(values[1:]), 2)}
        for name, values in (
            ("first_picture", first),
            ("eight_pictures_with_scores", everything),
            ("eight_by_gradio_client", by_client),
            ("eight_by_pipeline_and_scorer", list(alone(repeats + 1))),
        )
    }
    print(json.dumps({"cores": os.cpu_count(), "repeats": repeats, **figures}))


def called(address: str, times: int) -> Iterator[float]:
    """Seconds until a program without a browser has the scores and the addresses of the pictures."""
    from gradio_client import Client

    client = Client(address, verbose=False, download_files=False)
    for number in range(times):
        began = time.perf_counter()
        client.predict(person=200 + number, api_name="/generate")
        yield time.perf_counter() - began


def alone(times: int) -> Iterator[float]:
    """Seconds for the same work without an app."""
    from idgen.model import load_model
    from idgen.painting import scoring
    from space.actions import Recipe

    model = load_model("nobody-128")
    options, score = Recipe.of(model).options(), scoring(model)
    people = model.sampler.sample(times, 300)
    for number in range(times):
        began = time.perf_counter()
        pictures = model.pipeline(people[number : number + 1], 8, **options).images
        score(pictures, people.vectors[number].expand(8, -1))
        yield time.perf_counter() - began


if __name__ == "__main__":
    main()
