"""The page: what is where, and what happens on a click. The endpoints for programs are in `space.api`:

/sample(seed=7, model="")                                             an identity of nobody
/identify(photo, consent=False, more=None, model="")                  an identity of one or several photos
/generate(images=8, steps=None, variation=0, seed=0, guidance=None,
          person=7, identity=None, model="")                          scores, pictures, zip, contact sheet
/compare(first, second, consent=False, model="")                      a verdict on two pictures
"""

from __future__ import annotations

import os

# Before Gradio is imported: no telemetry, no version check, no record of runs.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("GRADIO_RUN_HISTORY", "False")

import importlib.util
import logging
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from idgen.errors import InputError
from idgen.identity import Identity
from space import actions, again, api, people, view
from space.actions import Curve, Morph, Neighbour, Point, Progress, Recipe, Result
from space.gpu import ZERO, on_gpu, seconds
from space.guard import GuardedBlocks, guards
from space.limits import Limits
from space.models import Models, defaults
from space.requests import admit, polite, separate_uploads, take
from space.settings import Settings
from space.theme import CSS, theme

if TYPE_CHECKING:
    from idgen.model import Model

FIRST_SEED, SECOND_SEED = 7, 21
_SESSIONS = 1000  # visits that are remembered at a time
_POINTS = 50  # of the trade-off that a session remembers
_LARGE = 256  # side in pixels up to which a picture is sent as it is while others are still on their way
_TABS = {
    "one": "#generate",
    "two": "#morph",
    "explore": "#measure",
    "curve": "#curve",
    "near": "#near",
}  # and the button that a link presses

_SHOW_OUTCOME = """() => {
  if (innerWidth < 860) [...document.querySelectorAll(".outcome")].find((one) => one.offsetParent)
    ?.scrollIntoView({ behavior: "smooth", block: "start" });
}"""
_SHOW_LINK = """(query) => {
  if (!query) return "";
  history.replaceState(null, "", location.pathname + query);
  return location.origin + location.pathname + query;
}"""
_PRESS = """() => {
  const buttons = BUTTONS, asked = new URLSearchParams(location.search);
  const press = () => document.querySelector(buttons[asked.get("tab")] ?? "#generate")?.click();
  if (asked.has("person")) setTimeout(press, 50);
  setTimeout(() => { document.documentElement.dataset.opened = "yes"; }, 100);  // what the link says is in the fields
}""".replace("BUTTONS", str(_TABS))


def build(model: Model | str | Models | None = None, settings: Settings | None = None) -> gr.Blocks:
    """The app. Networks are loaded when they are first needed. Launch it with `launch`.

    Args:
        model: one or more models; by default those of the settings.
        settings: what visitors may do; by default from the environment.
    """
    settings = Settings.from_env() if settings is None else settings
    models = model if isinstance(model, Models) else Models(settings.models if model is None else [model])
    limits, seals = Limits(settings), people.Seals()
    separate_uploads()
    own_steps, own_guidance = defaults(models.get())

    # ------------------------------------------------------------ what computes, with a GPU where there is one to lend

    @on_gpu(lambda name, who, recipe: seconds(recipe.images, recipe.steps))
    def paint(name: str, who: Identity | None, recipe: Recipe) -> Generator[Progress | Result, None, None]:
        yield from actions.generate(models.get(name), who, recipe)

    @on_gpu(lambda name, a, b, recipe: seconds(actions.MORPH, recipe.steps))
    def blend(
        name: str, a: Identity | None, b: Identity | None, recipe: Recipe
    ) -> Generator[Progress | Morph, None, None]:
        yield from actions.morph(models.get(name), a, b, recipe)

    @on_gpu(lambda name, who, recipe, variations: seconds(recipe.images * len(variations), recipe.steps))
    def measure(
        name: str, who: Identity | None, recipe: Recipe, variations: Sequence[float]
    ) -> Generator[Curve, None, None]:
        yield from actions.explore(models.get(name), who, recipe, variations)

    @on_gpu(lambda name, who, recipe: seconds(5, recipe.steps))
    def look_around(name: str, who: Identity | None, recipe: Recipe) -> Generator[list[Neighbour], None, None]:
        yield from actions.nearest(models.get(name), who, recipe)

    read, judge = api.on_photos(models, settings)

    # ------------------------------------------------------------ what the buttons do

    def sample(name: str, seed: float) -> tuple[Identity | None, str]:
        """Who a seed stands for, or why nobody."""
        try:
            identity, nearest = actions.sample(models.get(name), seed)
        except InputError as error:
            if not models.get(name).has("sampler"):  # no mistake of the visitor's: the page opens like this
                return None, view.refused(str(error))
            raise
        return identity, view.sampled(identity, nearest, len(models.get(name).sampler.people))

    def draw(origin: _Origin, name: str, seed: float) -> tuple:
        found = sample(name, seed)
        return found if origin.still("nobody", name) else (gr.skip(), gr.skip())

    def anybody(name: str, seed: float) -> tuple[Identity | None, str]:
        """The same in place of somebody else, who may not stay when the seed is of no use."""
        try:
            return sample(name, seed)
        except InputError as error:
            return None, view.refused(str(error))

    def back_to_nobody(origin: _Origin, name: str, seed: float) -> tuple:
        if origin.tab == "nobody":  # as a page opens, which may be of somebody else's seed
            return gr.skip(), gr.skip()
        origin.tab = "nobody"
        found = anybody(name, seed)
        return found if origin.still("nobody", name) else (gr.skip(), gr.skip())

    def somebody(tab: str) -> Callable[[_Origin], tuple]:
        def chosen(origin: _Origin) -> tuple:
            origin.tab = tab
            return None, "", ""

        return chosen

    def identify(origin: _Origin, name: str, photos: Any, consent: bool, request: gr.Request) -> tuple:
        contents = take(photos, settings.photos_per_request)
        admit(limits, request)
        found = read(name, contents, consent) if origin.still("photo", name) else None
        if found is None or not origin.still("photo", name):  # it was long in the queue, or in the work
            return gr.skip(), gr.skip()
        return found.identity, view.found(found, models.get(name).encoder.notice)

    def bring(origin: _Origin, name: str, file: Any, space: str, request: gr.Request) -> tuple:
        content = take(file, 1)[0]
        admit(limits, request)
        identity, count = people.read_vector(content, models.get(name), space, settings.vector_uploads)
        if not origin.still("vector", name):
            return gr.skip(), gr.skip()
        return identity, view.outside(identity, count)

    def generate(
        name: str,
        who: Identity | None,
        images: float,
        steps: float,
        variation: float,
        guidance: float,
        seed: float,
        request: gr.Request,
    ) -> Iterator[tuple]:
        recipe = _recipe(models.get(name), images, steps, variation, guidance, seed)
        admit(limits, request, recipe.images)
        gallery, result = None, None
        show, hide = gr.update(visible=True), gr.update(visible=False)
        rest = (hide, *[gr.skip()] * 6)
        if who is not None:  # else what is there stays, beside the refusal
            begun = view.working(Progress(recipe.images, [], [], [], 0.0), who)
            yield begun, view.grid([], recipe.images), hide, show, *rest
        with closing(paint(name, who, recipe)) as snapshots:
            for result in snapshots:
                if isinstance(result, Progress):
                    assert who is not None
                    gallery = gallery or _Tiles(models.get(name).name, who, recipe)
                    tiles = gallery.add(result.images, result.scores)
                    grid = view.grid(tiles, result.wanted, result.previews)
                    yield view.working(result, who), grid, hide, show, *rest
        assert isinstance(result, Result)
        final = _Tiles(result.model, result.identity, recipe, None).add(result.images, result.scores)
        once = again.pictures(result.identity, result.recipe, result.model)
        with tempfile.TemporaryDirectory(prefix="idgen-") as folder:
            _, archive, sheet = actions.write(result, Path(folder))
            # Gradio copies the files when they are yielded; when the generator goes on, the folder is gone.
            yield (
                view.summary(result),
                view.grid(final, len(final)),
                hide,
                show,
                show,
                view.evidence(result),
                str(archive),
                str(sheet),
                view.download(result.identity.name, actions.identity_file([result.identity])),
                _code(once),
                once.query,
            )

    def morph(
        name: str,
        first: Identity | None,
        second: Identity | None,
        steps: float,
        guidance: float,
        seed: float,
        request: gr.Request,
    ) -> Iterator[tuple]:
        recipe = _recipe(models.get(name), 1, steps, 0.0, guidance, seed)
        admit(limits, request)
        result = None
        with closing(blend(name, first, second, recipe)) as snapshots:
            for result in snapshots:
                if isinstance(result, Progress):
                    strip = view.grid([], actions.MORPH, result.previews, "line")
                    yield view.morph_status(result) + strip, gr.skip(), gr.skip(), gr.skip()
        assert isinstance(result, Morph)
        which = [
            max(pair, key=lambda line: line["judge_similarity"] or line["similarity"] or 0.0)
            for pair in zip(*result.scores, strict=True)
        ]
        tiles = [
            view.tile(k + 1, view.png_source(actions.png(image, result.model, who, result.recipe)), line, "the strip")
            for k, (image, line, who) in enumerate(zip(result.images, which, result.people, strict=True))
        ]
        once = again.strip(result.ends[0], result.ends[1], result.recipe, result.model)
        yield "", view.morph(result, tiles), _code(once), once.query

    def compare(name: str, two: Any, consent: bool, request: gr.Request) -> str:
        contents = take(two, 2)
        admit(limits, request)
        if len(contents) != 2:
            raise InputError("Two pictures are compared: choose both at once.")
        return view.compared(judge(name, contents[0], contents[1], consent))

    def explore(
        name: str,
        who: Identity | None,
        known: list[Point],
        variation: float,
        guidance: float,
        steps: float,
        seed: float,
        request: gr.Request,
        variations: Sequence[float] | None = None,
    ) -> Iterator[tuple]:
        recipe = _recipe(models.get(name), actions.POINT_IMAGES, steps, variation, guidance, seed)
        asked = [recipe.variation] if variations is None else variations
        admit(limits, request, requests=len(asked))  # each point is one of its own
        galleries: list[_Tiles] = []
        told = 0
        with closing(measure(name, who, recipe, asked)) as snapshots:
            for result in snapshots:
                done = len(result.points)
                assert who is not None
                before = [point for point in known if point.joins(who, result.model, recipe)]
                while len(galleries) <= done:
                    galleries.append(_Tiles(result.model, who, recipe))
                for gallery, point in zip(galleries, result.points, strict=False):
                    gallery.add(point.images, point.scores)
                if result.progress is not None:
                    galleries[done].add(result.progress.images, result.progress.scores)
                tiles = [gallery.tiles for gallery in galleries]
                shown = view.curve(result, before, tiles)
                if done == told:
                    yield shown, gr.skip(), gr.skip(), gr.skip()
                    continue
                told = done
                once = again.points(who, result.points, result.model)
                points = [replace(point, images=[], scores=[]) for point in result.points]  # these are on the page
                yield shown, [*known, *points][-_POINTS:], _code(once), once.query

    def whole_curve(
        name: str,
        who: Identity | None,
        known: list[Point],
        variation: float,
        guidance: float,
        steps: float,
        seed: float,
        request: gr.Request,
    ) -> Iterator[tuple]:
        yield from explore(name, who, known, variation, guidance, steps, seed, request, actions.VARIATIONS)

    def around(
        name: str, who: Identity | None, steps: float, guidance: float, seed: float, request: gr.Request
    ) -> Iterator[tuple]:
        recipe = _recipe(models.get(name), 1, steps, 0.0, guidance, seed)
        admit(limits, request)
        with closing(look_around(name, who, recipe)) as snapshots:
            for found in snapshots:
                tiles = [
                    view.tile(
                        k + 1,
                        view.png_source(actions.png(one.image, models.get(name).name, one.identity, recipe, _LARGE)),
                        {"similarity": one.cosine, "judge_similarity": None, "match": None},
                        one.identity.name,
                    )
                    for k, one in enumerate(found)
                ]
                yield view.neighbours(found, tiles, actions.NEIGHBOURS, actions.CROWD), gr.skip(), gr.skip()
        assert who is not None
        once = again.nearest(who, recipe, models.get(name).name)
        yield gr.skip(), _code(once), once.query

    def opened(origin: _Origin, request: gr.Request) -> tuple:
        asked = _asked(dict(request.query_params), models, settings.images_per_request)
        name = origin.model = asked["model"]
        chosen = models.get(name)
        usual_steps, usual = defaults(chosen)
        asked["steps"] = gr.update(value=asked["steps"], maximum=max(actions.MOST_STEPS, usual_steps))
        asked["guidance"] = gr.update(value=asked["guidance"], visible=usual != 1)
        person, card = sample(name, asked["person"])
        try:
            other: Identity | None = actions.sample(chosen, asked["other"])[0]
        except InputError:
            other = None
        return (
            gr.update(selected="explore" if asked["tab"] in ("curve", "near") else asked["tab"])
            if "tab" in request.query_params
            else gr.skip(),
            *(asked[key] for key in ("model", "person", "other", "pictures", "steps", "variation", "guidance")),
            *(min(asked["variation"], 0.9) if asked["tab"] in ("explore", "curve") else gr.skip(), asked["guidance"]),
            asked["seed"],
            person,
            card,
            other,
            *cards(person),
            view.person(other, letter="B"),
        )

    def cards(one: Identity | None) -> tuple[str, str]:
        return view.person(one, letter="A"), view.person(one)

    def settle(origin: _Origin, name: str, seed: float, other: float) -> tuple:
        """Another model: other people, other defaults, and faces to be read anew."""
        steps, guidance = defaults(models.get(name))
        origin.model = name
        person, card = anybody(name, seed)
        second: Identity | None = None
        with suppress(InputError):
            second = actions.sample(models.get(name), other)[0]
        photo = vector = ""
        if origin.tab != "nobody":
            person = None
            photo = view.nobody("Another model reads faces in its own way: choose the photos again.")
            vector = view.nobody("Another model has its own face vectors: choose one of its space.")
        slider = gr.update(value=guidance, visible=guidance != 1)
        more = gr.update(value=steps, maximum=max(actions.MOST_STEPS, steps))
        return person, card, second, more, slider, slider, gr.update(value=_note(name)), photo, vector

    def _note(name: str) -> str:
        config = models.get(name).folder / "model_index.json"
        return view.vector_note(settings, f"vectors of the space {_space(config)!r}")

    # ------------------------------------------------------------ what is where

    with GuardedBlocks(title="idgen: one person, many pictures", delete_cache=(60, settings.keep_seconds)) as demo:
        # What is known of this visitor, in memory, for as long as the session.
        keep: dict[str, Any] = {"time_to_live": settings.keep_seconds}
        person, second, known = gr.State(None, **keep), gr.State(None, **keep), gr.State([], **keep)
        origin = gr.State(_Origin())
        queries = [gr.Textbox(visible="hidden", show_label=False) for _ in range(3)]

        gr.HTML(view.MASTHEAD, js_on_load=view.THEME_JS)
        model_name = gr.Dropdown(
            models.names,
            value=models.names[0],
            label="Model",
            visible=len(models.names) > 1,
            elem_id="model",
            filterable=False,
        )
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("One person", id="one", elem_id="tab-one"), gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                    with gr.Tabs(elem_classes="who"):
                        with gr.Tab("Nobody", id="nobody") as nobody:
                            gr.HTML(view.SAMPLE_NOTE)
                            with gr.Row(equal_height=True):
                                who = gr.Number(
                                    FIRST_SEED, label="Person's seed", precision=None, min_width=110, elem_id="who"
                                )
                                another = gr.Button("Sample a person", min_width=150, elem_id="sample")
                            sampled = gr.HTML(elem_id="sampled")
                        with gr.Tab("Photos", id="photo") as mine:
                            gr.HTML(view.PHOTO_NOTE)
                            consent = gr.Checkbox(
                                False,
                                label="This is me, or the person agreed to it.",
                                elem_id="consent",
                                container=False,
                            )
                            # A File, not an Image: that would ask the server to show the upload, which is gone by then.
                            photo = gr.File(
                                label="Photos of one person, one clear face each",
                                file_types=["image"],
                                file_count="multiple",
                                height=176,
                                visible=False,
                                elem_id="photo",
                            )
                            found = gr.HTML(elem_id="found")
                        with gr.Tab("Vector", id="vector", visible=settings.vector_uploads) as theirs:
                            vector_note = gr.HTML(_note(models.names[0]))
                            vector = gr.File(
                                label="A face vector",
                                file_types=[".safetensors", ".npy"],
                                height=140,
                                elem_id="vector",
                            )
                            space = gr.Textbox(
                                label="Embedding space of a bare .npy", placeholder="who made it", elem_id="space"
                            )
                            brought = gr.HTML(elem_id="brought")
                    images = gr.Slider(
                        1,
                        settings.images_per_request,
                        min(8, settings.images_per_request),
                        step=1,
                        label="Pictures",
                        elem_id="images",
                    )
                    with gr.Row(equal_height=True):
                        go = gr.Button("Generate pictures", variant="primary", size="lg", elem_id="generate")
                        stop = _stop("stop")
                    with gr.Accordion("Settings", open=False):
                        variation = gr.Slider(
                            0, 1, 0, step=0.05, label="Variation", info="0: exactly this face. Higher: relatives of it."
                        )
                        guidance = gr.Slider(
                            1,
                            actions.MOST_GUIDANCE,
                            own_guidance,
                            step=0.1,
                            label="Guidance",
                            info="Higher: more this person, less varied.",
                            visible=own_guidance != 1,
                        )
                        steps = gr.Slider(
                            1,
                            max(actions.MOST_STEPS, own_steps),
                            own_steps,
                            step=1,
                            label="Steps",
                            info="More take longer.",
                        )
                        seed = gr.Number(
                            0, label="Pictures' seed", precision=None, info="Another seed: other pictures."
                        )
                with gr.Column(scale=9, min_width=320, elem_classes="outcome"):
                    note = gr.HTML(elem_id="note-one")
                    empty = gr.HTML(view.EMPTY, elem_id="empty")
                    with gr.Column(visible=False, elem_id="results") as results:
                        summary = gr.HTML(elem_id="summary")
                        pictures = gr.HTML(elem_id="pictures", js_on_load=view.ENLARGE_JS)
                        with gr.Column(visible=False, elem_id="leaving") as leaving:
                            with gr.Row(equal_height=True):
                                archive = gr.DownloadButton("Pictures and scores (zip)", size="md", elem_id="zip")
                                sheet = gr.DownloadButton("Contact sheet (PNG)", size="md", elem_id="sheet")
                                link = gr.HTML(elem_id="identity")
                            evidence = gr.HTML(elem_id="evidence", js_on_load=view.MATRIX_JS)
                            share, code = _again("one")
            with gr.Tab("Two people", id="two", elem_id="tab-two"), gr.Tabs(elem_classes="who"):
                with gr.Tab("Morph", id="morph", elem_id="tab-morph"), gr.Row(equal_height=False):
                    with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                        gr.HTML(view.MORPH_NOTE)
                        first_card, second_card = gr.HTML(elem_id="first"), gr.HTML(elem_id="second")
                        with gr.Row(equal_height=True):
                            other = gr.Number(
                                SECOND_SEED, label="B's seed", precision=None, min_width=110, elem_id="other"
                            )
                            another_b = gr.Button("Sample B", min_width=120, elem_id="sample-b")
                        with gr.Row(equal_height=True):
                            go_morph = gr.Button("Morph", variant="primary", size="lg", elem_id="morph")
                            stop_morph = _stop("stop-morph")
                    with gr.Column(scale=9, min_width=320, elem_classes="outcome"):
                        note_morph, coming = gr.HTML(elem_id="note-morph"), gr.HTML(elem_id="strip-coming")
                        strip = gr.HTML(view.EMPTY_MORPH, elem_id="strip", js_on_load=view.ENLARGE_JS)
                        with gr.Column(elem_classes="after"):
                            share_morph, code_morph = _again("two")
                with gr.Tab("Compare two pictures", id="compare"), gr.Row(equal_height=False):
                    with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                        gr.HTML(view.COMPARE_NOTE)
                        agreed = gr.Checkbox(
                            False, label="Everybody on them agreed to it.", elem_id="agreed", container=False
                        )
                        couple = gr.File(
                            label="Two pictures, one clear face each",
                            file_types=["image"],
                            file_count="multiple",
                            height=176,
                            visible=False,
                            elem_id="couple",
                        )
                    with gr.Column(scale=9, min_width=320, elem_classes="outcome"):
                        compared = gr.HTML(view.EMPTY_COMPARE, elem_id="compared")
            with gr.Tab("Explore", id="explore", elem_id="tab-explore"), gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=300, elem_classes="controls"):
                    gr.HTML(view.EXPLORE_NOTE)
                    explored_card = gr.HTML(elem_id="explored-person")
                    spread = gr.Slider(
                        0, 0.9, 0.3, step=0.05, label="Variation", info="0: exactly this face.", elem_id="spread"
                    )
                    strength = gr.Slider(
                        1,
                        actions.MOST_GUIDANCE,
                        own_guidance,
                        step=0.5,
                        label="Guidance",
                        info="1: none. Higher: more this person.",
                        visible=own_guidance != 1,
                        elem_id="strength",
                    )
                    with gr.Row(equal_height=True):
                        go_curve = gr.Button("Draw the curve", variant="primary", size="lg", elem_id="curve")
                        stop_curve = _stop("stop-curve")
                    go_point = gr.Button("Measure this setting", elem_id="measure")
                    go_near = gr.Button("Nearest sampled people", elem_id="near")
                with gr.Column(scale=9, min_width=320, elem_classes="outcome"):
                    note_curve = gr.HTML(elem_id="note-explore")
                    explored = gr.HTML(view.EMPTY_EXPLORE, elem_id="explored", js_on_load=view.ENLARGE_JS)
                    near = gr.HTML(elem_id="neighbours", js_on_load=view.ENLARGE_JS)
                    with gr.Column(elem_classes="after"):
                        share_curve, code_curve = _again("explore")
        gr.HTML(view.colophon(settings))

        # -------------------------------------------------------- what happens on a click

        api.add(models, limits, seals)
        private: dict[str, Any] = {"api_visibility": "private"}
        quiet: dict[str, Any] = {**private, "show_progress": "hidden"}
        heavy: dict[str, Any] = {**private, "concurrency_id": api.QUEUE, "show_progress": "full"}

        painted = {
            "fn": polite(generate),
            "inputs": [model_name, person, images, steps, variation, guidance, seed],
            "outputs": [summary, pictures, empty, results, leaving, evidence, archive, sheet, link, code, queries[0]],
            "show_progress_on": [empty, summary],
            **heavy,
        }
        drawn = {"fn": polite(draw), "inputs": [origin, model_name, who], "outputs": [person, sampled], **quiet}

        start = demo.load(
            opened,
            origin,
            [
                *(tabs, model_name, who, other, images, steps, variation, guidance, spread, strength, seed),
                *(person, sampled, second, first_card, explored_card, second_card),
            ],
            **quiet,
        )
        start.success(None, js=_PRESS, **private)
        model_name.input(
            polite(settle),
            [origin, model_name, who, other],
            [person, sampled, second, steps, guidance, strength, vector_note, found, brought],
            **quiet,
        )
        nobody.select(**{**drawn, "fn": polite(back_to_nobody)})
        who.input(**drawn, trigger_mode="always_last")
        fresh = another.click(lambda: secrets.randbelow(10**6), None, who, **quiet).then(**drawn).success(**painted)
        run = go.click(**painted)
        _early(stop, [run, fresh], note, [summary], [another, go])
        # On a phone the pictures are further down than the button.
        gr.on([another.click, go.click, go_morph.click, go_curve.click, go_point.click], js=_SHOW_OUTCOME, **private)

        for chosen, of in ((mine, "photo"), (theirs, "vector")):
            chosen.select(somebody(of), origin, [person, found, brought], **quiet)
        consent.change(lambda yes: gr.update(visible=bool(yes), value=None), consent, photo, **quiet)
        seen = photo.upload(
            polite(identify),
            [origin, model_name, photo, consent],
            [person, found],
            preprocess=False,  # the payload says where the upload is, so that `take` can delete it
            **heavy,
            show_progress_on=photo,
        )
        given = vector.upload(
            polite(bring), [origin, model_name, vector, space], [person, brought], preprocess=False, **quiet
        )
        for event, upload in ((seen, photo), (given, vector)):
            for ended in (event.success, event.failure):
                ended(lambda: None, None, upload, **quiet)

        second.change(lambda one: view.person(one, letter="B"), second, second_card, **quiet)
        b_drawn = {
            "fn": polite(lambda name, number: actions.sample(models.get(name), number)[0]),
            "inputs": [model_name, other],
            "outputs": [second],
            **quiet,
        }
        other.input(**b_drawn, trigger_mode="always_last")
        another_b.click(lambda: secrets.randbelow(10**6), None, other, **quiet).then(**b_drawn)
        morphed = go_morph.click(
            polite(morph),
            [model_name, person, second, steps, guidance, seed],
            [coming, strip, code_morph, queries[1]],
            show_progress_on=strip,
            **heavy,
        )
        _early(stop_morph, [morphed], note_morph, [coming], [go_morph])

        agreed.change(lambda yes: gr.update(visible=bool(yes), value=None), agreed, couple, **quiet)
        judged = couple.upload(
            polite(compare),
            [model_name, couple, agreed],
            compared,
            preprocess=False,
            show_progress_on=compared,
            **heavy,
        )
        for ended in (judged.success, judged.failure):
            ended(lambda: None, None, couple, **quiet)

        measuring = {
            "inputs": [model_name, person, known, spread, strength, steps, seed],
            "outputs": [explored, known, code_curve, queries[2]],
            "show_progress_on": explored,
            **heavy,
        }

        swept = go_curve.click(polite(whole_curve), **measuring)
        moved = gr.on(
            [spread.release, strength.release, go_point.click],
            polite(explore),
            **measuring,
            trigger_mode="always_last",
        )
        looked = go_near.click(
            polite(around),
            [model_name, person, steps, strength, seed],
            [near, code_curve, queries[2]],
            show_progress_on=near,
            **heavy,
        )
        _early(stop_curve, [swept, moved, looked], note_curve, [explored, near], [go_curve, go_point, go_near])
        person.change(
            lambda one: (*cards(one), [], view.EMPTY_EXPLORE, "", ""),
            person,
            [first_card, explored_card, known, explored, near, note_curve],
            cancels=[swept, moved, looked],
            **quiet,
        )

        for query, shared in zip(queries, (share, share_morph, share_curve), strict=True):
            query.change(None, query, shared, js=_SHOW_LINK, **private)
    demo.queue(max_size=settings.queue_length, api_open=False)  # nobody passes the queue by
    demo.idgen_settings = settings
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """`demo.launch` with the look, the MCP tools, and without anything that records or calls out."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log addresses, with file names in them
    settings: Settings = demo.idgen_settings
    return demo.launch(
        theme=theme(),
        css_paths=CSS,
        footer_links=["api"],
        run_history=False,
        state_session_capacity=_SESSIONS,
        max_file_size=f"{settings.upload_megabytes}mb",
        mcp_server=importlib.util.find_spec("mcp") is not None,
        app_kwargs=guards(settings),
        **options,
    )


def main(
    model: str | None = None, host: str | None = None, port: int | None = None, open_browser: bool = False
) -> None:
    """Run the app until it is stopped; Gradio prints the address.

    Args:
        model: a named model, a folder or a Hub id; it comes before those of `IDGEN_MODELS`. None: these alone.
        host: address to listen on; None is this machine only (or GRADIO_SERVER_NAME).
        port: None takes the first free one from 7860 (or GRADIO_SERVER_PORT).
        open_browser: open a tab.

    Raises:
        InputError: a variable says nothing usable, there is no such model, or nobody can listen there.
    """
    settings = Settings.from_env()
    models = Models(allowed(model, settings))
    try:  # Gradio itself ends in a traceback, or never
        socket.create_server((host or "127.0.0.1", port or 0)).close()
    except OSError as error:
        where = f"{host or '127.0.0.1'}{f', port {port}' if port else ''}"
        why = str(error.strerror).partition(" (")[0]
        raise InputError(f"The app cannot listen on {where} ({why}): choose another --host or --port.") from error
    warm(models)
    launch(build(models, settings), server_name=host, server_port=port, inbrowser=open_browser)


def allowed(model: str | None, settings: Settings) -> list[str]:
    """The operator's models, each once; one that was named comes first."""
    return list(dict.fromkeys([*([] if model is None else [model]), *settings.models]))


def warm(models: Models) -> None:
    """Load the first model: beside the page, which answers at once; on ZeroGPU before it, so that all share it."""
    first = models.get()

    def load() -> None:
        parts = [part for part in ("sampler", "encoder", "judge") if first.has(part)]
        for part in ["pipeline", *parts, *(["scorer"] if "judge" in parts else [])]:
            getattr(first, part)

    if ZERO:
        load()
    else:
        threading.Thread(target=load, daemon=True).start()


@dataclass
class _Origin:
    """The tab that the person comes from, and the model, as they are now: one of a visit, changed in place.

    What was asked for before is older than the visitor's newest choice, however late it comes out of the queue.
    Gradio's `cancels` would leave its uploads behind. Without a model it is of a visit that was forgotten, of a phone
    that slept for instance: then nothing newer is known.
    """

    tab: str = "nobody"
    model: str = ""

    def still(self, tab: str, model: str) -> bool:
        """Whether that is where the person comes from."""
        if not self.model:
            self.tab, self.model = tab, model
        return (self.tab, self.model) == (tab, model)


class _Tiles:
    """A gallery's pictures as HTML; each is encoded once, however often the page is told."""

    def __init__(self, model: str, who: Identity, recipe: Recipe, side: int | None = _LARGE):
        self.tiles: list[str] = []
        self._model, self._who, self._recipe, self._side = model, who, recipe, side

    def add(self, images: Sequence[Any], scores: Sequence[actions.Line]) -> list[str]:
        """All of them so far."""
        for number in range(len(self.tiles), len(images)):
            source = view.png_source(actions.png(images[number], self._model, self._who, self._recipe, self._side))
            self.tiles.append(view.tile(number + 1, source, scores[number], self._who.name))
        return self.tiles


def _recipe(model: Model, images: Any, steps: Any, variation: Any, guidance: Any, seed: Any) -> Recipe:
    return Recipe.of(model, images, steps, variation, guidance, seed)


def _stop(name: str) -> gr.Button:
    return gr.Button("Stop", variant="stop", size="lg", min_width=80, scale=0, elem_id=name, elem_classes="stop")


def _early(
    stop: gr.Button, runs: list[Any], note: gr.HTML, results: list[gr.HTML], buttons: Sequence[gr.Button]
) -> None:
    """Let work end early, by the button or by a mistake: a note beside the results, which keep what is finished."""
    private: dict[str, Any] = {"api_visibility": "private"}
    stop.click(None, [note, *results], [note, *results], js=view.left_off_js(stopped=True), cancels=runs, **private)
    for run in runs:
        run.failure(None, [note, *results], [note, *results], js=view.left_off_js(stopped=False), **private)
    gr.on([button.click for button in buttons], None, None, note, js="() => ''", **private)


def _again(tab: str) -> tuple[gr.Textbox, gr.Markdown]:
    """Where the link and the code go."""
    share = gr.Textbox(
        label="Link to this result",
        placeholder="A person from a photo or a file has no link: hand on the face vector and the code instead.",
        buttons=["copy"],
        interactive=False,
        elem_id=f"link-{tab}",
    )
    with gr.Accordion("Same again in Python", open=False, elem_id=f"again-{tab}"):
        code = gr.Markdown("Make something first.", elem_id=f"code-{tab}", elem_classes="code")
    return share, code


def _code(once: again.Again) -> str:
    commands = f"\n\nOn the command line:\n\n```bash\n{once.commands}\n```" if once.commands else ""
    return f"```python\n{once.python}```{commands}"


def _space(index: Path) -> str:
    import json

    try:
        return str(json.loads(index.read_text(encoding="utf-8")).get("space", ""))
    except (OSError, ValueError):
        return ""


def _asked(query: dict[str, str], models: Models, most: int) -> dict[str, Any]:
    """The settings of a link; what it does not say, or says wrongly, is as on a fresh page."""
    model = query.get("model") if query.get("model") in models.names else models.names[0]
    steps, guidance = defaults(models.get(model))
    seeds = {"person": FIRST_SEED, "other": SECOND_SEED, "seed": 0}
    asked: dict[str, Any] = {"model": model, "tab": query.get("tab") if query.get("tab") in _TABS else "one"}
    for key, low, high, default in (
        *((name, 0, actions.MAX_SEED, value) for name, value in seeds.items()),
        ("pictures", 1, most, min(8, most)),
        ("steps", 1, max(actions.MOST_STEPS, steps), steps),
    ):
        try:
            asked[key] = actions.whole(int(query.get(key, default)), key, low, high)
        except ValueError:  # InputError is one
            asked[key] = default
    for name, top, value in (("variation", 1.0, 0.0), ("guidance", actions.MOST_GUIDANCE, guidance)):
        try:
            asked[name] = actions.fraction(float(query.get(name, value)), name, 0.0, top)
        except ValueError:
            asked[name] = value
    return asked
