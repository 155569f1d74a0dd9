"""How the pictures are to look: what the model can be told, each thing set or left free."""

from __future__ import annotations

from typing import Any

import gradio as gr

from idgen.ground.attributes import YES_NO, Vocabulary
from idgen.model import Model

from ..models import vocabulary
from .shared import QUIET, Shared

NUMBERS: dict[str, tuple[str, float, float]] = {
    "yaw": ("Turn the head (degrees, right is positive)", 5, 20),
    "pitch": ("Lower the head (degrees, below 0 raises it)", 5, 0),
    "smile": ("Smile", 0.05, 1),
    "mouth_open": ("Open the mouth", 0.05, 0.5),
    "eyes_shut": ("Shut the eyes", 0.05, 1),
    "beard": ("Beard", 0.05, 0.8),
}
"""What has a slider: what it is called, its step, where it stands at first."""
NAMES = ("expression", "hair", "hair_colour", "glasses", "sunglasses", "hat", "environment", "scene")
"""What is chosen from a list."""
FREE = "left free"


class How:
    """The panel *Pose and expression*: hidden for a model that cannot be told."""

    def __init__(self, shared: Shared):
        self.shared = shared
        known = vocabulary(shared.models.get())
        with gr.Accordion("Pose and expression", open=False, visible=bool(known), elem_id="how") as self.panel:
            gr.HTML(
                '<p class="note">What is left free is drawn as people of this kind have it. Age is the person\'s: '
                "choose who, not how.</p>"
            )
            self.checks: dict[str, gr.Checkbox] = {}
            self.sliders: dict[str, gr.Slider] = {}
            for name, (label, step, start) in NUMBERS.items():
                low, high = _ends(known, name)
                there = name in known
                self.checks[name] = gr.Checkbox(
                    False, label=label, visible=there, container=False, elem_id=f"set-{name}"
                )
                options: dict[str, Any] = {"visible": False, "show_label": False, "elem_id": f"how-{name}"}
                self.sliders[name] = gr.Slider(low, high, min(start, high), step=step, **options)
            with gr.Row():
                self.lists = {name: self._list(known, name) for name in NAMES}

    def _list(self, known: Vocabulary, name: str) -> gr.Dropdown:
        options: dict[str, Any] = {"filterable": False, "min_width": 130, "elem_id": f"how-{name}"}
        label = name.replace("_", " ").capitalize()
        return gr.Dropdown(_words(known, name), value=FREE, label=label, visible=name in known, **options)

    @property
    def inputs(self) -> list[Any]:
        """What `read` takes."""
        return [*self.checks.values(), *self.sliders.values(), *self.lists.values()]

    def wire(self) -> None:
        """A slider shows itself when it counts."""
        for name, check in self.checks.items():
            check.change(lambda on: gr.update(visible=bool(on)), check, self.sliders[name], **QUIET)

    def read(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """What is asked for, of the inputs' values."""
        count = len(NUMBERS)
        wanted, numbers, words = values[:count], values[count : 2 * count], values[2 * count :]
        asked = {name: number for name, on, number in zip(NUMBERS, wanted, numbers, strict=True) if on}
        return asked | {name: word for name, word in zip(NAMES, words, strict=True) if word not in (None, FREE)}

    def show(self, model: Model, asked: dict[str, Any]) -> dict[Any, Any]:
        """The panel for a model, as a link or a fresh page has it."""
        known = vocabulary(model)
        shown: dict[Any, Any] = {self.panel: gr.update(visible=bool(known), open=bool(asked))}
        for name, (_, _, start) in NUMBERS.items():
            low, high = _ends(known, name)
            there, on = name in known, name in asked
            shown[self.checks[name]] = gr.update(visible=there, value=on)
            value = asked.get(name, min(start, high))
            shown[self.sliders[name]] = gr.update(minimum=low, maximum=high, value=value, visible=on)
        for name in NAMES:
            value = asked.get(name, FREE)
            shown[self.lists[name]] = gr.update(choices=_words(known, name), value=value, visible=name in known)
        return shown


def asked_in(text: str, known: Vocabulary) -> dict[str, Any]:
    """What a link's `with` asks for, such as `yaw:30;hat:yes`; what is of no use there is left out."""
    asked: dict[str, Any] = {}
    for part in text.split(";"):
        name, _, value = part.partition(":")
        if name in (*NUMBERS, *NAMES) and name in known:
            try:
                number = known.number(name, value)
            except ValueError:  # InputError is one
                continue
            asked[name] = str(known.values[name][int(number)]) if known.named(name) else number
    return asked


def _ends(known: Vocabulary, name: str) -> tuple[float, float]:
    low, high = map(float, known.values[name]) if name in known else (0.0, 1.0)
    return low, high


def _words(known: Vocabulary, name: str) -> list[str]:
    values = list(map(str, known.values[name])) if name in known else list(YES_NO)
    return [FREE, *values]
