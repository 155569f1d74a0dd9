"""How different one person's pictures may be, and who is nearest."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from .. import actions, again, view
from ..actions import NEIGHBOURS, POINT_IMAGES, VARIATIONS, Point, Recipe
from ..parts import part, script
from .one_person import OnePerson
from .shared import HEAVY, QUIET, SameAgain, Shared, controls, let_end_early, outcome, start_and_stop


class Explore:
    """The trade-off between similarity and variety, point by point."""

    def __init__(self, shared: Shared, same: SameAgain):
        self.shared, self.same = shared, same
        with controls():
            gr.HTML(part("note", what="explore"))
            self.person = gr.HTML(elem_id="explored-person")
            self.variation = gr.Slider(
                0, 0.9, 0.3, step=0.05, label="Variation", info="0: exactly this face.", elem_id="spread"
            )
            self.guidance = shared.guidance(elem_id="strength")
            self.go, self.stop = start_and_stop("Draw the curve", "curve", "stop-curve")
            self.one = gr.Button("Measure this setting", elem_id="measure")
            self.near = gr.Button("Nearest sampled people", elem_id="near")
        with outcome():
            self.note = gr.HTML(elem_id="note-explore")
            self.explored = gr.HTML(part("empty", what="explore"), elem_id="explored", js_on_load=script("enlarge"))
            self.neighbours = gr.HTML(elem_id="neighbours", js_on_load=script("enlarge"))
            with gr.Column(elem_classes="after"):
                same.lay_out("explore")

    def wire(self, one: OnePerson) -> None:
        """Connect it; steps, seed and how they look are those of the first tab."""
        shared = self.shared
        self.how = one.how
        inputs = [shared.model, shared.person, shared.known, self.variation, self.guidance, one.steps, one.seed]
        inputs += one.how.inputs
        outputs = [self.explored, shared.known, *self.same.outputs]
        measuring = {"inputs": inputs, "outputs": outputs, "show_progress_on": self.explored, **HEAVY}
        looking = [shared.model, shared.person, one.steps, self.guidance, one.seed, *one.how.inputs]
        seen = [self.neighbours, *self.same.outputs]
        moved = [self.variation.release, self.guidance.release, self.one.click]
        runs = [
            self.go.click(self.curve, **measuring),
            gr.on(moved, self.measure, **measuring, trigger_mode="always_last"),
            self.near.click(self.nearest, looking, seen, show_progress_on=self.neighbours, **HEAVY),
        ]
        let_end_early(self.stop, runs, self.note, [self.explored, self.neighbours], [self.go, self.one, self.near])
        shared.person.change(
            lambda person: (view.person(person), [], part("empty", what="explore"), "", ""),
            shared.person,
            [self.person, shared.known, self.explored, self.neighbours, self.note],
            cancels=runs,
            **QUIET,
        )

    def measure(
        self, request: gr.Request, name: str, identity: Any, known: list[Point], *asked: Any, variations: Any = ()
    ) -> Iterator[dict]:
        """Points of the curve; `asked`: variation, guidance, steps, seed, and what the panel holds; `variations` in
        place of that one."""
        variation, guidance, steps, seed, *how = asked
        model = self.shared.models.get(name)
        recipe = Recipe.of(model, POINT_IMAGES, steps, variation, guidance, seed, self.how.read(tuple(how)))
        variations = variations or [recipe.variation]
        self.shared.limits.admit(request, requests=len(variations))  # each point is one of its own
        galleries = [view.Gallery(model.name, identity, recipe) for _ in variations]
        explore = functools.partial(actions.explore, variations=variations)
        pictures = POINT_IMAGES * len(variations)
        with self.shared.networks.snapshots(name, pictures, recipe, explore, identity) as snapshots:
            for result in snapshots:
                joining = [point for point in known if point.joins(identity, result.model, recipe)]
                painted = [*result.points, *([] if result.progress is None else [result.progress])]
                shown = [gallery.add(one.images, one.scores) for gallery, one in zip(galleries, painted, strict=False)]
                answer: dict[Any, Any] = {self.explored: view.curve(result, joining, shown)}
                if result.points:
                    points = [replace(point, images=[], scores=[]) for point in result.points]  # these are on the page
                    answer[self.shared.known] = [*known, *points][-50:]  # as many as a session remembers
                    answer |= self.same.show(again.points(identity, result.points, result.model))
                yield answer

    def curve(self, request: gr.Request, name: str, identity: Any, known: list[Point], *asked: Any) -> Iterator[dict]:
        """The whole curve."""
        yield from self.measure(request, name, identity, known, *asked, variations=VARIATIONS)

    def nearest(self, request: gr.Request, name: str, identity: Any, *asked: Any) -> Iterator[dict]:
        """The nearest sampled people; `asked`: steps, guidance, seed, and what the panel holds."""
        steps, guidance, seed, *how = asked
        model = self.shared.models.get(name)
        recipe = Recipe.of(model, 1, steps, 0.0, guidance, seed, self.how.read(tuple(how)))
        self.shared.limits.admit(request)
        with self.shared.networks.snapshots(name, NEIGHBOURS, recipe, actions.nearest, identity) as snapshots:
            for found in snapshots:
                yield {self.neighbours: view.neighbours(found, model.name, recipe)}
        yield self.same.show(again.nearest(identity, recipe, model.name))
