"""The page: what is where, and what happens on a click."""

from __future__ import annotations

import os

# Before Gradio is imported: no telemetry, no version check, no record of runs.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

import functools
import inspect
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from idgen.errors import InputError
from idgen.hub import Model, load_model
from idgen.identity import Identity
from space import actions, view
from space.guard import GuardedBlocks, guards
from space.theme import CSS, theme

DEFAULT_MODEL = "nobody-128"
FIRST_SEED = 7
_SHOW_OUTCOME = """() => {
  if (innerWidth < 860) document.getElementById("outcome").scrollIntoView({ behavior: "smooth", block: "start" });
}"""
_KEEP = 3600  # seconds a generated picture or a session's identity stays


def build(model: Model | str = DEFAULT_MODEL) -> gr.Blocks:
    """The app for a model, which is loaded when it is first needed. Launch it with `launch`."""
    if isinstance(model, str):
        model = load_model(model)

    def sample(seed: float) -> tuple[dict, Identity, str, str]:
        """Sample a person who does not exist: the same seed is always the same person. /generate then paints them."""
        identity, nearest = actions.sample(model, seed)
        card = view.sampled(int(seed), nearest, len(model.sampler.people))
        return actions.describe(identity), identity, card, _identity_link(identity)

    def identify(photo: dict | None, consent: bool) -> tuple[dict, Identity, str, str]:
        """Read the largest face of a photo, with the consent of the person in it. /generate then paints them."""
        found = actions.identify(model, _take(photo), consent)
        if found.faces > 1:
            gr.Info(f"{found.faces} faces found: the largest is taken.")
        return actions.describe(found.identity), found.identity, view.found(found), _identity_link(found.identity)

    def generate(
        identity: Identity | None,
        images: float,
        steps: float,
        variation: float,
        seed: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for it
    ) -> Iterator[tuple]:
        """Paint pictures of the person last sampled or identified in this session, and judge each of them."""
        result = actions.generate(
            model, identity, images, steps, variation, seed, lambda share, what: progress(share, desc=what)
        )
        with tempfile.TemporaryDirectory(prefix="idgen-") as folder:
            files, archive = actions.write(result, Path(folder))
            captions = [view.caption(score.match, score.judge_similarity) for score in result.scores]
            # Gradio copies the files when they are yielded; when the generator goes on, the folder is gone.
            yield (
                actions.report(result),
                [(str(path), text) for path, text in zip(files, captions, strict=True)],
                view.summary(result),
                view.evidence(result),
                str(archive),
                gr.update(visible=False),
                gr.update(visible=True),
            )

    with GuardedBlocks(title="idgen: one person, many pictures", delete_cache=(600, _KEEP)) as demo:
        # What is known of this visitor: one identity, in memory, for as long as the session.
        person = gr.State(None, time_to_live=_KEEP)
        details, report = gr.JSON(visible=False), gr.JSON(visible=False)

        gr.HTML(view.MASTHEAD)
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300, elem_id="controls"):
                with gr.Tabs():
                    with gr.Tab("Nobody", id="nobody") as nobody:
                        gr.HTML(view.SAMPLE_NOTE)
                        with gr.Row(equal_height=True):
                            who = gr.Number(
                                FIRST_SEED, label="Person's seed", precision=None, min_width=110, elem_id="who"
                            )
                            another = gr.Button("Sample a person", min_width=150, elem_id="sample")
                        sampled = gr.HTML(elem_id="sampled")
                    with gr.Tab("A photo", id="photo") as mine:
                        gr.HTML(view.PHOTO_NOTE)
                        consent = gr.Checkbox(
                            False, label="This is me, or the person agreed to it.", elem_id="consent", container=False
                        )
                        # A File, not an Image: that would ask the server to show the upload, which is gone by then.
                        photo = gr.File(
                            label="A photo with one clear face",
                            file_types=["image"],
                            height=176,
                            visible=False,
                            elem_id="photo",
                        )
                        found = gr.HTML(elem_id="found")
                images = gr.Slider(1, actions.MAX_IMAGES, 8, step=1, label="Pictures", elem_id="images")
                go = gr.Button("Generate pictures", variant="primary", size="lg", elem_id="generate")
                with gr.Accordion("Settings", open=False):
                    variation = gr.Slider(
                        0, 1, 0, step=0.05, label="Variation", info="0: exactly this face. Higher: relatives of it."
                    )
                    steps = gr.Slider(1, actions.MAX_STEPS, 15, step=1, label="Steps", info="More take longer.")
                    seed = gr.Number(0, label="Pictures' seed", precision=None, info="Another seed: other pictures.")
            with gr.Column(scale=9, min_width=320, elem_id="outcome"):
                empty = gr.HTML(view.EMPTY, elem_id="empty")
                with gr.Column(visible=False, elem_id="results") as results:
                    summary = gr.HTML(elem_id="summary")
                    gallery = gr.Gallery(
                        format="png",
                        show_label=False,
                        columns=4,
                        object_fit="cover",
                        buttons=["fullscreen"],
                        interactive=False,
                        elem_id="pictures",
                    )
                    with gr.Row(equal_height=True):
                        archive = gr.DownloadButton("Pictures and scores (zip)", size="md", elem_id="zip")
                        link = gr.HTML(elem_id="identity")
                    evidence = gr.HTML(elem_id="evidence")
        gr.HTML(view.COLOPHON)

        painted = {
            "fn": _polite(generate),
            "inputs": [person, images, steps, variation, seed],
            "outputs": [report, gallery, summary, evidence, archive, empty, results],
            "concurrency_id": "networks",
            "show_progress_on": [empty, summary],
        }
        drawn = {
            "fn": _polite(sample),
            "inputs": [who],
            "outputs": [details, person, sampled, link],
            "show_progress": "hidden",
        }
        quiet = {"api_visibility": "private", "show_progress": "hidden"}

        # The public names first: later ones without a name of their own would take them.
        demo.load(**drawn, api_name="sample")
        go.click(**painted, api_name="generate")
        nobody.select(**drawn, api_visibility="private")
        who.input(**drawn, api_visibility="private", trigger_mode="always_last")
        another.click(lambda: secrets.randbelow(10**6), None, who, **quiet).then(
            **drawn, api_visibility="private"
        ).success(**painted, api_visibility="private")
        # On a phone the pictures are further down than the button.
        gr.on([another.click, go.click], js=_SHOW_OUTCOME, api_visibility="private")

        mine.select(lambda: (None, ""), None, [person, found], **quiet)
        consent.change(lambda yes: gr.update(visible=bool(yes), value=None), consent, photo, **quiet)
        read = photo.upload(
            _polite(identify),
            [photo, consent],
            [details, person, found, link],
            api_name="identify",
            preprocess=False,  # the payload says where the upload is, so that `_take` can delete it
            concurrency_id="networks",
            show_progress_on=photo,
        )
        for ended in (read.success, read.failure):
            ended(lambda: None, None, photo, **quiet)
    demo.queue(max_size=64)
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """`demo.launch` with the look and without anything that records or calls out."""
    return demo.launch(
        theme=theme(),
        css_paths=CSS,
        footer_links=["api"],
        run_history=False,
        max_file_size="20mb",
        app_kwargs=guards(),
        **options,
    )


def main(
    model: str = DEFAULT_MODEL, host: str | None = None, port: int | None = None, open_browser: bool = False
) -> None:
    """Run the app until it is stopped; Gradio prints the address.

    Args:
        model: a named model, a folder or a Hub id.
        host: address to listen on; None is this machine only (or GRADIO_SERVER_NAME).
        port: None takes the first free one from 7860 (or GRADIO_SERVER_PORT).
        open_browser: open a tab.
    """
    loaded = load_model(model)
    # The page answers at once; the networks are ready by the time somebody has read it.
    threading.Thread(target=lambda: (loaded.sampler, loaded.pipeline, loaded.scorer), daemon=True).start()
    launch(build(loaded), server_name=host, server_port=port, inbrowser=open_browser)


def _polite(action: Callable) -> Callable:
    """Show a visitor's mistake as the sentence it comes with, and nothing on the console."""

    def said(error: InputError) -> gr.Error:
        return gr.Error(escape(str(error)), title="That did not work", print_exception=False)

    if inspect.isgeneratorfunction(action):

        @functools.wraps(action)
        def streaming(*args: Any, **kwargs: Any) -> Iterator:
            try:
                yield from action(*args, **kwargs)
            except InputError as error:
                raise said(error) from None

        return streaming

    @functools.wraps(action)
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except InputError as error:
            raise said(error) from None

    return plain


def _take(photo: dict | list[dict] | None) -> bytes:
    """The uploaded file's bytes; the file is deleted, whatever it is. Gradio has checked that it is an upload."""
    if isinstance(photo, list):
        photo = photo[0] if photo else None
    path = (photo or {}).get("path")
    if not path:
        raise InputError("There is no photo: choose one first.")
    try:
        return Path(path).read_bytes()
    except OSError:
        raise InputError("The photo is gone already: choose it again.") from None
    finally:
        Path(path).unlink(missing_ok=True)


def _identity_link(identity: Identity) -> str:
    return view.download(identity.name, actions.identity_file(identity))
