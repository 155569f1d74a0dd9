"""Two people: pictures that lead from one to the other, and whether two pictures show the same."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import gradio as gr

from idgen.ground.errors import InputError
from idgen.ground.identity import Identity

from .. import actions, again, view
from ..actions import MORPH, Progress, Recipe
from ..parts import part, script
from ..uploads import take
from .one_person import OnePerson
from .shared import HEAVY, QUIET, PhotoBox, SameAgain, Shared, controls, let_end_early, outcome, start_and_stop

SECOND_SEED = 21


class Between:
    """A strip of people from A, the first tab's, to B."""

    def __init__(self, shared: Shared, same: SameAgain):
        self.shared, self.same = shared, same
        with controls():
            gr.HTML(part("note", what="morph"))
            self.first, self.second = gr.HTML(elem_id="first"), gr.HTML(elem_id="second")
            with gr.Row(equal_height=True):
                self.seed = gr.Number(SECOND_SEED, label="B's seed", precision=None, min_width=110, elem_id="other")
                self.another = gr.Button("Sample B", min_width=120, elem_id="sample-b")
            self.go, self.stop = start_and_stop("Morph", "morph", "stop-morph")
        with outcome():
            self.note, self.coming = gr.HTML(elem_id="note-morph"), gr.HTML(elem_id="strip-coming")
            empty = part("empty", what="morph", count=MORPH)
            self.strip = gr.HTML(empty, elem_id="strip", js_on_load=script("enlarge"))
            with gr.Column(elem_classes="after"):
                same.lay_out("two")

    def wire(self, one: OnePerson) -> None:
        """Connect it; steps, guidance and seed are those of the first tab."""
        shared = self.shared
        shared.person.change(lambda person: view.person(person, letter="A"), shared.person, self.first, **QUIET)
        shared.second.change(lambda person: view.person(person, letter="B"), shared.second, self.second, **QUIET)
        drawn = {"fn": self.draw, "inputs": [shared.model, self.seed], "outputs": shared.second, **QUIET}
        self.seed.input(**drawn, trigger_mode="always_last")
        self.another.click(lambda: secrets.randbelow(10**6), None, self.seed, **QUIET).then(**drawn)
        run = self.go.click(
            self.morph,
            [shared.model, shared.person, shared.second, one.steps, one.guidance, one.seed],
            [self.coming, self.strip, *self.same.outputs],
            show_progress_on=self.strip,
            **HEAVY,
        )
        let_end_early(self.stop, [run], self.note, [self.coming], [self.go])

    def draw(self, name: str, seed: float) -> Identity:
        """B, who does not exist."""
        return actions.sample(self.shared.models.get(name), seed)[0]

    def morph(
        self, request: gr.Request, name: str, first: Any, second: Any, steps: float, guidance: float, seed: float
    ) -> Iterator[dict]:
        """The strip."""
        recipe = Recipe.of(self.shared.models.get(name), 1, steps, 0.0, guidance, seed)
        self.shared.limits.admit(request)
        with self.shared.networks.snapshots(name, MORPH, recipe, actions.morph, first, second) as snapshots:
            for result in snapshots:
                if isinstance(result, Progress):
                    yield {self.coming: view.morph_status(result)}
                else:
                    once = again.strip(result.ends, result.recipe, result.model)
                    yield {self.coming: "", self.strip: view.morph(result), **self.same.show(once)}


class Comparison:
    """Whether two pictures show the same person."""

    def __init__(self, shared: Shared):
        self.shared = shared
        with controls():
            gr.HTML(part("note", what="compare"))
            label, agreement = "Two pictures, one clear face each", "Everybody on them agreed to it."
            self.photos = PhotoBox("couple", label, "agreed", agreement)
        with outcome():
            self.compared = gr.HTML(part("empty", what="compare"), elem_id="compared")

    def wire(self) -> None:
        """Connect it."""
        self.photos.wire(self.compare, [self.shared.model], [self.compared], self.compared)

    def compare(self, request: gr.Request, name: str, two: Any, consent: bool) -> str:
        """The verdict."""
        contents = take(two, 2)
        self.shared.limits.admit(request)
        if len(contents) != 2:
            raise InputError("Two pictures are compared: choose both at once.")
        return view.compared(self.shared.networks.compare(name, contents, consent))
