"""What the tabs share: the visitor, the model, what computes, and how a result stops, is linked to and made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from idgen.ground.guidance import parse_guidance, scales
from idgen.model import Model

from .. import api
from ..actions import MOST_GUIDANCE
from ..again import Again
from ..limits import Limits
from ..models import Models, defaults
from ..parts import part, script

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
HEAVY: dict[str, Any] = {**PRIVATE, "concurrency_id": api.QUEUE, "show_progress": "full"}


@dataclass
class Origin:
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


class Shared:
    """What every tab needs to answer a visitor.

    Of a visit the server keeps, in memory, `person` (A), `second` (B), `known` (points of A's trade-off) and `origin`.
    """

    def __init__(self, models: Models, limits: Limits):
        self.models, self.limits, self.settings = models, limits, limits.settings
        keep: dict[str, Any] = {"time_to_live": self.settings.keep_seconds}
        self.person, self.second, self.known = gr.State(None, **keep), gr.State(None, **keep), gr.State([], **keep)
        self.origin = gr.State(Origin())
        several = len(models.names) > 1
        self.model = gr.Dropdown(
            models.names, value=models.names[0], label="Model", visible=several, elem_id="model", filterable=False
        )
        self.networks = api.Networks(models, self.settings)

    def guidance(self, **options: Any) -> gr.Slider:
        """A slider for the guidance, where the model has any."""
        return gr.Slider(1, MOST_GUIDANCE, step=0.05, label="Guidance", **guided(self.models.get()), **options)


def guided(model: Model, asked: float | None = None) -> dict[str, Any]:
    """What the slider for the guidance shows, for a model."""
    own = scales(parse_guidance(defaults(model)[1]), 1)
    info = "Higher: more this person, less varied."
    if len(own) > 1:
        info += f" At {own[0]:g} it grows to {own[1]:g} as the head turns."
    return {"value": own[0] if asked is None else asked, "visible": own != [1], "info": info}


class SameAgain:
    """The link to a result, and the code that makes it again."""

    def __init__(self) -> None:
        self.query = gr.Textbox(visible="hidden", show_label=False)

    def lay_out(self, tab: str) -> None:
        """Where they go."""
        none = "A person from a photo or a file has no link: hand on the face vector and the code instead."
        options: dict[str, Any] = {"buttons": ["copy"], "interactive": False, "elem_id": f"link-{tab}"}
        self.link = gr.Textbox(label="Link to this result", placeholder=none, **options)
        with gr.Accordion("Same again in Python", open=False, elem_id=f"again-{tab}"):
            self.code = gr.Markdown("Make something first.", elem_id=f"code-{tab}", elem_classes="code")
        self.outputs = [self.code, self.query]
        self.query.change(None, self.query, self.link, js=script("show_link"), **PRIVATE)

    def show(self, once: Again) -> dict[Any, str]:
        """What a handler answers for it."""
        return {self.code: once.markdown, self.query: once.query}


class PhotoBox:
    """A place for photos that opens with consent, and is empty again when they were read."""

    def __init__(self, name: str, label: str, consent: str, agreement: str):
        self.consent = gr.Checkbox(False, label=agreement, elem_id=consent, container=False)
        # A File, not an Image: that would ask the server to show the upload, which is gone by then.
        options: dict[str, Any] = {"file_types": ["image"], "file_count": "multiple", "height": 176, "visible": False}
        self.box = gr.File(label=label, elem_id=name, **options)

    def wire(self, read: Callable, inputs: list[Any], outputs: list[Any], shown_on: Any) -> None:
        """`read` gets the inputs, then the upload and whether there is consent."""
        self.consent.change(lambda yes: gr.update(visible=bool(yes), value=None), self.consent, self.box, **QUIET)
        take_in(self.box, read, [*inputs, self.box, self.consent], outputs, show_progress_on=shown_on, **HEAVY)


def take_in(box: gr.File, read: Callable, inputs: list[Any], outputs: list[Any], **options: Any) -> None:
    """Read what is dropped into a box, and empty it, whatever comes of it."""
    # The payload as it came says where the upload is, so that `take` can delete it.
    done = box.upload(read, inputs, outputs, preprocess=False, **options)
    if len(outputs) > 1:  # a person and what is said of them
        done.failure(lambda: (None, *[""] * (len(outputs) - 1)), None, outputs, **QUIET)
    for ended in (done.success, done.failure):
        ended(lambda: None, None, box, **QUIET)


def controls() -> gr.Column:
    """The left side of a tab."""
    return gr.Column(scale=4, min_width=300, elem_classes="controls")


def outcome() -> gr.Column:
    """The right side of a tab."""
    return gr.Column(scale=9, min_width=320, elem_classes="outcome")


def start_and_stop(start: str, name: str, stop: str) -> tuple[gr.Button, gr.Button]:
    """The button that begins a tab's work, and the one that ends it."""
    with gr.Row(equal_height=True):
        begin = gr.Button(start, variant="primary", size="lg", elem_id=name)
        end = gr.Button("Stop", variant="stop", size="lg", min_width=80, scale=0, elem_id=stop, elem_classes="stop")
    return begin, end


def let_end_early(
    stop: gr.Button, runs: list[Any], note: gr.HTML, results: list[gr.HTML], starts: Sequence[gr.Button] = ()
) -> None:
    """Let work end early, by the button or by a mistake: a note beside the results, which keep what is finished. What
    takes it away are the buttons that start anew, or what the work itself says."""
    both = [note, *results]
    stopped, failed = (script("left_off", STOPPED=yes, NOTE=part("early", stopped=yes)) for yes in (True, False))
    stop.click(None, both, both, js=stopped, cancels=runs, **PRIVATE)
    for run in runs:
        run.failure(None, both, both, js=failed, **PRIVATE)
    if starts:
        gr.on([button.click for button in starts], None, None, note, js="() => ''", **PRIVATE)
