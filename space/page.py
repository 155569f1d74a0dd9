"""The page: its tabs, how it opens, and what another model changes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import gradio as gr

from idgen.ground import arguments
from idgen.ground.hub import DEFAULT_MODEL

from . import view
from .actions import MAX_SEED, MOST_GUIDANCE, MOST_STEPS, STRIPS
from .limits import Limits
from .models import Models, ahead, defaults, space, vocabulary
from .parts import part, script
from .settings import INVERSION
from .tabs.explore import Explore
from .tabs.how import asked_in
from .tabs.one_person import OnePerson
from .tabs.shared import PRIVATE, QUIET, Origin, SameAgain, Shared, guided
from .tabs.two_people import SECOND_SEED, Between, Comparison
from .tabs.who import FIRST_SEED

FIRST_SPACE = "nobody-128-encoder"
BUTTONS = {"one": "#generate", "two": "#morph", "explore": "#measure", "curve": "#curve", "near": "#near"}
BUTTONS |= {f"turn-{name}": f"#strip-{name}" for name in STRIPS}
"""What a link can show, and the button that it presses."""


class Page:
    """Everything on the page."""

    def __init__(self, models: Models, limits: Limits):
        first, second, third = SameAgain(), SameAgain(), SameAgain()
        gr.HTML(part("masthead"), js_on_load=script("theme"))
        self.shared = shared = Shared(models, limits)
        with gr.Tabs(elem_id="tabs") as self.tabs:
            with gr.Tab("One person", id="one", elem_id="tab-one"), gr.Row(equal_height=False):
                self.one = OnePerson(shared, first)
            with gr.Tab("Two people", id="two", elem_id="tab-two"), gr.Tabs(elem_classes="who"):
                with gr.Tab("Morph", id="morph", elem_id="tab-morph"), gr.Row(equal_height=False):
                    self.between = Between(shared, second)
                with gr.Tab("Compare two pictures", id="compare"), gr.Row(equal_height=False):
                    self.comparison = Comparison(shared)
            with gr.Tab("Explore", id="explore", elem_id="tab-explore"), gr.Row(equal_height=False):
                self.explore = Explore(shared, third)
        gr.HTML(part("colophon", settings=limits.settings, inversion=INVERSION))

    def wire(self, demo: gr.Blocks) -> None:
        """Connect it."""
        shared, one, between, explore = self.shared, self.one, self.between, self.explore
        people = [shared.person, one.who.sampled, shared.second]
        settings = [one.steps, one.guidance, explore.guidance]
        fields = [one.who.seed, between.seed, one.images, one.variation, explore.variation, one.seed]
        cards = [between.first, explore.person, between.second]
        looks = [one.who.kind, one.how.panel, *one.how.inputs, one.strips, *one.turns.values()]
        opened = [self.tabs, shared.model, *people, *settings, *fields, *cards, *looks]
        start = demo.load(self.opened, shared.origin, opened, **QUIET)
        start.success(None, js=script("press", BUTTONS=BUTTONS), **PRIVATE)
        chosen = [shared.origin, shared.model, one.who.seed, between.seed]
        settled = [*people, *settings, one.who.note, one.who.found, one.who.brought, *looks]
        shared.model.input(self.settle, chosen, settled, **QUIET)
        one.wire()
        between.wire(one)
        self.comparison.wire()
        explore.wire(one)
        starts = (one.who.another, one.go, between.go, explore.go, explore.one)
        gr.on([button.click for button in starts], js=script("show_outcome"), **PRIVATE)

    def opened(self, request: gr.Request, origin: Origin) -> dict[Any, Any]:
        """The page as a link says, or as it is without."""
        query = dict(request.query_params)
        asked = self.asked(query)
        name = origin.model = asked["model"]
        if said := stale(query, name, space(self.shared.models.get(name))):
            gr.Warning(said, duration=None, title="Other people")
        person, card = self.one.who.sample(name, asked["person"])
        second, _ = self.one.who.sample(name, asked["other"])
        opened = {
            self.shared.model: name,
            self.shared.person: person,
            self.shared.second: second,
            self.one.who.sampled: card,
            self.one.who.seed: asked["person"],
            self.one.images: asked["pictures"],
            self.one.variation: asked["variation"],
            self.one.seed: asked["seed"],
            self.between.seed: asked["other"],
            self.between.first: view.person(person, letter="A"),
            self.between.second: view.person(second, letter="B"),
            self.explore.person: view.person(person),
            **self._settings(name, asked["steps"], asked["guidance"]),
            **self.one.show(self.shared.models.get(name), asked["with"]),
        }
        if "tab" in query:
            tab = asked["tab"].partition("-")[0]
            opened[self.tabs] = gr.update(selected={"curve": "explore", "near": "explore", "turn": "one"}.get(tab, tab))
        if asked["tab"] in ("explore", "curve"):
            opened[self.explore.variation] = min(asked["variation"], 0.9)
        return opened

    def asked(self, query: dict[str, str]) -> dict[str, Any]:
        """What a link asks for; what it does not say, or says wrongly, is as on a fresh page."""
        models, most = self.shared.models, self.shared.settings.images_per_request
        model, tab = query.get("model"), query.get("tab")
        asked: dict[str, Any] = {
            "model": model if model in models.names else models.names[0],
            "tab": tab if tab in BUTTONS else "one",
        }
        asked["with"] = asked_in(query.get("with", ""), vocabulary(models.get(asked["model"])))
        steps, guidance = defaults(models.get(asked["model"]))
        fields: list[tuple[str, Any, Any, Any]] = [
            ("person", FIRST_SEED, 0, MAX_SEED),
            ("other", SECOND_SEED, 0, MAX_SEED),
            ("seed", 0, 0, MAX_SEED),
            ("pictures", min(8, most), 1, most),
            ("steps", steps, 1, max(MOST_STEPS, steps)),
            ("variation", 0.0, 0, 1),
            ("guidance", ahead(guidance), 0, MOST_GUIDANCE),
        ]
        for name, usual, low, high in fields:
            asked[name], kind = usual, type(usual)
            with suppress(KeyError, ValueError):  # InputError is one
                refuse = arguments.whole if kind is int else arguments.number
                asked[name] = refuse(name, kind(query[name]), low, high)
        return asked

    def settle(self, origin: Origin, name: str, seed: float, other: float) -> dict[Any, Any]:
        """Another model: other people, other defaults, and faces to be read anew."""
        origin.model = name
        one = self.one.who
        (person, card), (second, _) = (one.sample(name, which, strict=False) for which in (seed, other))
        found = brought = ""
        if origin.tab != "nobody":
            person = None
            found = view.nobody("Another model reads faces in its own way: choose the photos again.")
            brought = view.nobody("Another model has its own face vectors: choose one of its space.")
        return {
            self.shared.person: person,
            self.shared.second: second,
            one.sampled: card,
            one.note: one.vector_note(name),
            one.found: found,
            one.brought: brought,
            **self._settings(name),
            **self.one.show(self.shared.models.get(name), {}),
        }

    def _settings(self, name: str, steps: int | None = None, guidance: float | None = None) -> dict[Any, Any]:
        """The sliders of what a model has defaults for, at these."""
        model = self.shared.models.get(name)
        own = defaults(model)[0]
        slider = gr.update(**guided(model, guidance))
        how_many = gr.update(value=own if steps is None else steps, maximum=max(MOST_STEPS, own))
        return {self.one.steps: how_many, self.one.guidance: slider, self.explore.guidance: slider}


def stale(query: dict[str, str], name: str, now: str) -> str:
    """That a link was made with other weights, in whose space its seeds were other people; "" where it was not.

    Args:
        query: what the link says. One that names no space is older than such links, and of the first built-in weights,
            or of a model whose people have stayed.
        name: of the model that is shown.
        now: its embedding space.
    """
    made = query.get("space", FIRST_SPACE if name == DEFAULT_MODEL else now)
    if "person" not in query or made == now:
        return ""
    return (
        f"This link was made with the space {made[:60]}. {name} has other weights now: its seeds are other people here."
    )
