"""One person, many pictures."""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from idgen.model import Model

from .. import actions, again, view
from ..actions import MOST_STEPS, STRIP, STRIPS, Progress, Recipe, Result
from ..models import defaults, vocabulary
from ..opening import opening
from ..parts import file_name, grid, part, script, uri
from .how import How
from .shared import HEAVY, QUIET, SameAgain, Shared, controls, let_end_early, outcome, start_and_stop
from .who import Who


class OnePerson:
    """The first tab: who, how many, and what came of it. Its settings hold for the other tabs, too."""

    def __init__(self, shared: Shared, same: SameAgain):
        self.shared, self.same = shared, same
        most, own_steps = shared.settings.images_per_request, defaults(shared.models.get())[0]
        with controls():
            self.who = Who(shared)
            self.images = gr.Slider(1, most, min(8, most), step=1, label="Pictures", elem_id="images")
            self.go, self.stop = start_and_stop("Generate pictures", "generate", "stop")
            self.how = How(shared)
            with gr.Row(visible=bool(self._strips(shared.models.get())), elem_id="strips") as self.strips:
                self.turns = {
                    name: gr.Button(title, size="md", min_width=120, elem_id=f"strip-{name}")
                    for name, (title, _, _) in STRIPS.items()
                }
            with gr.Accordion("Settings", open=False):
                self.variation = gr.Slider(
                    0, 1, 0, step=0.05, label="Variation", info="0: exactly this face. Higher: relatives of it."
                )
                self.guidance = shared.guidance()
                self.steps = gr.Slider(
                    1, max(MOST_STEPS, own_steps), own_steps, step=1, label="Steps", info="More take longer."
                )
                self.seed = gr.Number(0, label="Pictures' seed", precision=None, info="Another seed: other pictures.")
        with outcome():
            self.note = gr.HTML(elem_id="note-one")
            self.turned = gr.HTML(elem_id="turned", js_on_load=script("enlarge"))
            self.empty = gr.HTML(opening(shared.models.names[0]), elem_id="empty", js_on_load=script("enlarge"))
            with gr.Column(visible=False, elem_id="results") as self.results:
                self.summary = gr.HTML(elem_id="summary")
                self.pictures = gr.HTML(elem_id="pictures", js_on_load=script("enlarge"))
                with gr.Column(visible=False, elem_id="leaving") as self.leaving:
                    with gr.Row(equal_height=True):
                        self.archive = gr.DownloadButton("Pictures and scores (zip)", size="md", elem_id="zip")
                        self.sheet = gr.DownloadButton("Contact sheet (PNG)", size="md", elem_id="sheet")
                        self.file = gr.HTML(elem_id="identity")
                    self.evidence = gr.HTML(elem_id="evidence", js_on_load=script("pair"))
                    same.lay_out("one")

    def wire(self) -> None:
        """Connect it."""
        how = [self.images, self.steps, self.variation, self.guidance, self.seed]
        shown = [self.note, self.summary, self.pictures, self.empty, self.results, self.leaving]
        left = [self.evidence, self.archive, self.sheet, self.file, *self.same.outputs]
        self.how.wire()
        inputs = [self.shared.model, self.shared.person, *how, *self.how.inputs]
        on = [self.empty, self.summary]
        painted = {"fn": self.generate, "inputs": inputs, "outputs": [*shown, *left], "show_progress_on": on, **HEAVY}
        runs = [self.go.click(**painted), self.who.wire().success(**painted)]
        looks = [self.shared.model, self.shared.person, self.steps, self.guidance, self.seed, *self.how.inputs]
        for name, button in self.turns.items():
            shows = [self.note, self.turned, self.empty, *self.same.outputs]
            runs.append(button.click(self.turning(name), looks, shows, show_progress_on=[self.turned], **HEAVY))
        # What begins says so itself: the browser is late with a click's other events while it gathers the panel.
        let_end_early(self.stop, runs, self.note, [self.summary, self.turned])
        self.shared.person.change(self.forget, [self.shared.person, self.turned], self.turned, **QUIET)

    @staticmethod
    def _strips(model: Model) -> list[str]:
        """The strips that a model can make."""
        return [name for name in STRIPS if name in vocabulary(model)]

    def show(self, model: Model, asked: dict[str, Any]) -> dict[Any, Any]:
        """The panel and the strips' buttons for a model."""
        possible = self._strips(model)
        buttons = {button: gr.update(visible=name in possible) for name, button in self.turns.items()}
        return {
            **self.who.show(model),
            **self.how.show(model, asked),
            **buttons,
            self.strips: gr.update(visible=bool(possible)),
        }

    @staticmethod
    def forget(identity: Any, shown: str) -> Any:
        """Takes away somebody else's strip; not one that a link has just asked for, however late this is answered."""
        return "" if shown and (identity is None or identity.name not in shown) else gr.skip()

    def turning(self, which: str) -> Callable[..., Iterator[dict]]:
        """What paints one of the strips."""

        def turn(request: gr.Request, name: str, identity: Any, *asked: Any) -> Iterator[dict]:
            # Steps, guidance, seed, and what the panel holds.
            steps, guidance, seed, *how = asked
            recipe = Recipe.of(self.shared.models.get(name), 1, steps, 0.0, guidance, seed, self.how.read(tuple(how)))
            self.shared.limits.admit(request)
            paint = functools.partial(actions.strip, name=which)
            with self.shared.networks.snapshots(name, STRIP, recipe, paint, identity) as snapshots:
                for said in snapshots:
                    if isinstance(said, Progress):
                        hidden = gr.update(visible=False)
                        yield {self.note: "", self.turned: view.strip_status(said, which), self.empty: hidden}
                    else:
                        once = again.turned(said.identity, said.recipe, said.model, which)
                        yield {self.turned: view.strip(said), **self.same.show(once)}

        return turn

    def generate(self, request: gr.Request, name: str, identity: Any, *asked: Any) -> Iterator[dict]:
        """Pictures with their verdict; `asked`: what `Recipe.of` takes of it, and what the panel holds."""
        model = self.shared.models.get(name)
        images, steps, variation, guidance, seed, *how = asked
        recipe = Recipe.of(model, images, steps, variation, guidance, seed, self.how.read(tuple(how)))
        self.shared.limits.admit(request, recipe.images)
        with self.shared.networks.snapshots(name, recipe.images, recipe, actions.generate, identity) as snapshots:
            gallery = view.Gallery(model.name, identity, recipe)
            # What is there stays beside a refusal, so without anybody nothing is shown at first.
            begun = [] if identity is None else [Progress(recipe.images, [], [], [], 0.0)]
            for said in itertools.chain(begun, snapshots):
                if isinstance(said, Progress):
                    tiles = gallery.add(said.images, said.scores)
                    pictures = grid(tiles, said.wanted, said.previews)
                    shown = {self.summary: view.working(said, identity), self.pictures: pictures}
                    yield shown | self._visible(left=False)
                else:
                    yield from self._done(said)

    def _visible(self, left: bool) -> dict[Any, Any]:
        shown, hidden = gr.update(visible=True), gr.update(visible=False)
        return {self.note: "", self.empty: hidden, self.results: shown, self.leaving: shown if left else hidden}

    def _done(self, result: Result) -> Iterator[dict]:
        identity = result.identity
        person = uri(actions.identity_file([identity]), "application/octet-stream")
        final = view.Gallery(result.model, identity, result.recipe, None).add(result.images, result.scores)
        with tempfile.TemporaryDirectory(prefix="idgen-") as folder:
            _, archive, sheet = actions.write(result, Path(folder))
            # Gradio copies the files when they are yielded; when the generator goes on, the folder is gone.
            yield {
                self.summary: part("summary", result=result),
                self.pictures: grid(final, len(final)),
                **self._visible(left=True),
                self.evidence: view.evidence(result),
                self.archive: str(archive),
                self.sheet: str(sheet),
                self.file: part("download", name=file_name(identity), source=person),
                **self.same.show(again.pictures(identity, result.recipe, result.model)),
            }
