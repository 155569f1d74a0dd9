"""One person, many pictures."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from .. import actions, again, view
from ..actions import MOST_STEPS, Progress, Recipe, Result
from ..models import defaults
from ..parts import file_name, grid, part, script, uri
from .shared import HEAVY, SameAgain, Shared, controls, let_end_early, outcome, start_and_stop
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
            with gr.Accordion("Settings", open=False):
                self.variation = gr.Slider(
                    0, 1, 0, step=0.05, label="Variation", info="0: exactly this face. Higher: relatives of it."
                )
                self.guidance = shared.guidance(step=0.1, info="Higher: more this person, less varied.")
                self.steps = gr.Slider(
                    1, max(MOST_STEPS, own_steps), own_steps, step=1, label="Steps", info="More take longer."
                )
                self.seed = gr.Number(0, label="Pictures' seed", precision=None, info="Another seed: other pictures.")
        with outcome():
            self.note = gr.HTML(elem_id="note-one")
            self.empty = gr.HTML(part("empty", what="one"), elem_id="empty")
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
        shown = [self.summary, self.pictures, self.empty, self.results, self.leaving]
        left = [self.evidence, self.archive, self.sheet, self.file, *self.same.outputs]
        inputs, on = [self.shared.model, self.shared.person, *how], [self.empty, self.summary]
        painted = {"fn": self.generate, "inputs": inputs, "outputs": [*shown, *left], "show_progress_on": on, **HEAVY}
        runs = [self.go.click(**painted), self.who.wire().success(**painted)]
        let_end_early(self.stop, runs, self.note, [self.summary], [self.who.another, self.go])

    def generate(self, request: gr.Request, name: str, identity: Any, *asked: float) -> Iterator[dict]:
        """Pictures with their verdict; `asked`: what `Recipe.of` takes of it."""
        model = self.shared.models.get(name)
        recipe = Recipe.of(model, *asked)
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
        return {self.empty: hidden, self.results: shown, self.leaving: shown if left else hidden}

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
