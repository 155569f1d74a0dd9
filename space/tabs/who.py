"""Whose pictures are made: nobody's, somebody's from photos, or those of a face vector."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr

from idgen.ground.domain import pictures
from idgen.ground.errors import InputError
from idgen.ground.identity import Identity
from idgen.sampling.who import KINDS

from .. import actions, people, view
from ..actions import TRAITS
from ..models import reads_traits, space
from ..parts import part
from ..settings import INVERSION
from ..uploads import take
from .shared import QUIET, Origin, PhotoBox, Shared, take_in

FIRST_SEED = 7
ANY = "any"


class Who:
    """The tabs that a person can come from."""

    def __init__(self, shared: Shared):
        self.shared = shared
        with gr.Tabs(elem_classes="who"):
            with gr.Tab("Nobody", id="nobody") as self.nobody:
                gr.HTML(part("note", what="sample"))
                with gr.Row(equal_height=True):
                    label = "Person's seed"
                    self.seed = gr.Number(FIRST_SEED, label=label, precision=None, min_width=110, elem_id="who")
                    self.another = gr.Button("Sample a person", min_width=150, elem_id="sample")
                with gr.Row(visible=reads_traits(shared.models.get()), elem_id="kind") as self.kind:
                    self.kinds = {name: self._list(name) for name in TRAITS}
                self.sampled = gr.HTML(elem_id="sampled")
            with gr.Tab("Photos", id="photo") as self.photo:
                gr.HTML(part("note", what="photo", style=pictures(shared.models.get().paints)))
                agreement = "This is me, or the person agreed to it."
                self.photos = PhotoBox("photo", "Photos of one person, one clear face each", "consent", agreement)
                self.found = gr.HTML(elem_id="found")
            with gr.Tab("Vector", id="vector", visible=shared.settings.vector_uploads) as self.vector:
                self.note = gr.HTML(self.vector_note(shared.models.names[0]))
                files = [".safetensors", ".npy"]
                self.file = gr.File(label="A face vector", file_types=files, height=140, elem_id="vector")
                label = "Embedding space of a bare .npy"
                self.space = gr.Textbox(label=label, placeholder="who made it", elem_id="space")
                self.brought = gr.HTML(elem_id="brought")

    @staticmethod
    def _list(name: str) -> gr.Dropdown:
        options: dict[str, Any] = {"filterable": False, "min_width": 90, "elem_id": f"kind-{name}"}
        return gr.Dropdown([ANY, *KINDS[name]], value=ANY, label=name.replace("_", " ").capitalize(), **options)

    def show(self, model: Any) -> dict[Any, Any]:
        """What can be chosen of a model's people."""
        return {self.kind: gr.update(visible=reads_traits(model))}

    def wire(self) -> Any:
        """Connect it; returns the event after which somebody new is drawn by the button."""
        shared, person = self.shared, self.shared.person
        drawn = {"inputs": [shared.origin, shared.model, self.seed], "outputs": [person, self.sampled], **QUIET}
        self.nobody.select(self.back, **drawn)
        self.seed.input(self.draw, **drawn, trigger_mode="always_last")
        for tab, name in ((self.photo, "photo"), (self.vector, "vector")):
            leave = functools.partial(self.leave, name)
            tab.select(leave, shared.origin, [person, self.found, self.brought], **QUIET)
        self.photos.wire(self.identify, [shared.origin, shared.model], [person, self.found], self.photos.box)
        inputs = [shared.origin, shared.model, self.file, self.space]
        take_in(self.file, self.bring, inputs, [person, self.brought], **QUIET)
        wanted = [shared.model, *self.kinds.values()]
        return self.another.click(self.somebody, wanted, self.seed, **QUIET).success(self.draw, **drawn)

    def vector_note(self, name: str) -> str:
        """What face vectors a model takes."""
        return part("note", what="vector", space=space(self.shared.models.get(name)), inversion=INVERSION)

    def sample(self, name: str, seed: float, strict: bool = True) -> tuple[Identity | None, str]:
        """Who a seed stands for, and a card of them; or nobody, and why: the page opens like this without a sampler.

        Args:
            strict: a seed that is of no use is a mistake to be told. Else it is in place of somebody who may not stay.
        """
        model = self.shared.models.get(name)
        try:
            identity, nearest = actions.sample(model, seed)
        except InputError as error:
            if strict and model.has("sampler"):
                raise
            return None, view.nobody(str(error), "Not here")
        return identity, view.sampled(identity, nearest, len(model.sampler.people))

    def somebody(self, name: str, *kinds: str) -> int:
        """The seed of somebody new, of the kinds that are chosen; what is left open is drawn evenly."""
        kind = {trait: value for trait, value in zip(TRAITS, kinds, strict=True) if value in KINDS[trait]}
        return actions.seed_of(self.shared.models.get(name), kind)

    def draw(self, origin: Origin, name: str, seed: float, strict: bool = True) -> Any:
        """Somebody who does not exist."""
        found = self.sample(name, seed, strict)
        return found if origin.still("nobody", name) else gr.skip()

    def back(self, origin: Origin, name: str, seed: float) -> Any:
        """To nobody, from somebody; as a page opens it is of nobody already, maybe of another seed."""
        if origin.tab == "nobody":
            return gr.skip()
        origin.tab = "nobody"
        return self.draw(origin, name, seed, strict=False)

    def leave(self, tab: str, origin: Origin) -> tuple[None, str, str]:
        """To somebody who is still to be chosen."""
        origin.tab = tab
        return None, "", ""

    def identify(self, request: gr.Request, origin: Origin, name: str, photos: Any, consent: bool) -> Any:
        """Somebody from photos."""
        contents = take(photos, self.shared.settings.photos_per_request)
        self.shared.limits.admit(request)
        found = self.shared.networks.read(name, contents, consent) if origin.still("photo", name) else None
        if found is None or not origin.still("photo", name):  # it was long in the queue, or in the work
            return gr.skip()
        return found.identity, part("found", found=found, notice=self.shared.models.get(name).encoder.notice)

    def bring(self, request: gr.Request, origin: Origin, name: str, file: Any, space: str) -> Any:
        """Somebody's vector."""
        content = take(file, 1)[0]
        self.shared.limits.admit(request)
        model, allowed = self.shared.models.get(name), self.shared.settings.vector_uploads
        identity, count = people.read_vector(content, model, space, allowed)
        return (identity, view.outside(identity, count)) if origin.still("vector", name) else gr.skip()
