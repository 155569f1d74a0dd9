"""The endpoints for programs: `gradio_client`, plain HTTP, and MCP tools. Typed and without state.

An identity that /sample or /identify answered is handed to /generate as it is; its `seal` lets the app know it again.
Results do not depend on who else is asking: the same arguments give the same pictures and scores.
"""

# No `from __future__ import annotations` here: Gradio reads the endpoints' return types as they stand.

import tempfile
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData

from . import actions
from .actions import Compared, Found, Progress, Recipe
from .gpu import on_gpu, seconds
from .limits import Limits
from .models import Models
from .people import Seals
from .settings import Settings
from .uploads import take

QUEUE = "networks"  # one queue for everything that computes


class Networks:
    """What page and endpoints compute, on a GPU for as long as it takes where there is one to lend."""

    def __init__(self, models: Models, settings: Settings):
        @on_gpu(lambda *_: seconds(8, 1))
        def read(name: str, photos: list[bytes], consent: bool, face: int | None = None, near: Any = None) -> Found:
            return actions.identify(models.get(name), photos, consent, settings.upload_pixels, face, near)

        @on_gpu(lambda *_: seconds(8, 1))
        def compare(name: str, two: list[bytes], consent: bool) -> Compared:
            return actions.compare(models.get(name), two[0], two[1], consent, settings.upload_pixels)

        @on_gpu(lambda name, pictures, recipe, *rest: seconds(pictures, recipe.steps))
        def work(name: str, pictures: int, recipe: Recipe, action: Callable, *who: Any) -> Generator[Any, None, None]:
            yield from action(models.get(name), *who, recipe)

        self.read, self.compare, self._work = read, compare, work

    def snapshots(self, name: str, pictures: int, recipe: Recipe, action: Callable, *who: Any) -> closing:
        """`with` it: iterate over what an action on people says that paints so many pictures."""
        return closing(self._work(name, pictures, recipe, action, *who))


def add(models: Models, limits: Limits) -> None:
    """Add /sample, /identify, /generate and /compare to the `gr.Blocks` that is being built."""
    endpoints = Endpoints(models, limits)
    for endpoint in (endpoints.sample, endpoints.identify, endpoints.generate, endpoints.compare):
        gr.api(endpoint, api_name=endpoint.__name__, concurrency_id=QUEUE)


class Endpoints:
    """One method an endpoint; what its docstring says, the page's API view and the MCP tool say."""

    def __init__(self, models: Models, limits: Limits):
        self.models, self.limits, self.settings, self.seals = models, limits, limits.settings, Seals()
        self.networks = Networks(models, limits.settings)

    def sample(self, request: gr.Request, seed: int = 7, model: str = "") -> dict[str, Any]:
        """Sample a person who does not exist, as a face vector. The same seed is always the same person.

        Args:
            seed: which person, a whole number from 0 to 2^53 - 1.
            model: name of one of the models of this app; empty for its first.

        Returns:
            The identity: name, source, space, vector and seal. Hand it to /generate as it is.
        """
        self.limits.admit(request)
        return self.seals.describe(actions.sample(self.models.get(model), seed)[0])

    def identify(
        self,
        request: gr.Request,
        photo: FileData,
        consent: bool = False,
        more: list[FileData] | None = None,
        model: str = "",
        face: int | None = None,
    ) -> dict[str, Any]:
        """Read the largest face of one or several photos of one person into an identity (their mean).

        The photos are deleted at once. The vector can be used to recognise this person: treat it like the photos.

        Args:
            photo: a photo with one clear face.
            consent: true if the person on it agreed; without it nothing is read.
            more: further photos of the same person.
            model: name of one of the models of this app; empty for its first.
            face: which face of each photo, where there are several: 1 for the largest, and so on.

        Returns:
            The identity: name, source, space, vector, what other recognisers see (`also`) and seal, to be handed to
            /generate as it is. Beside it `faces`,
            how many each photo shows, `scope`, what verdicts there will be on pictures of this person, and `doubt`, why
            the photos may not all show one person, where they do not seem to.
        """
        others: list[Any] = [] if more is None else more if isinstance(more, list) else [more]
        photos = take([photo, *others], self.settings.photos_per_request)
        self.limits.admit(request)
        found = self.networks.read(model, photos, consent, face)
        said = self.seals.describe(found.identity)
        said |= {"faces": [face.faces for face in found.faces], "scope": found.scope}
        return said | ({"doubt": found.doubt} if found.doubt else {})

    def generate(  # type: ignore[misc]
        self,
        request: gr.Request,
        images: int = 8,
        steps: int | None = None,
        variation: float = 0.0,
        seed: int = 0,
        guidance: float | None = None,
        person: int = 7,
        identity: dict[str, Any] | None = None,
        model: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], list[FileData], FileData, FileData]:
        """Make pictures of one person, AI-generated, each with an honest score of whether it is still that person.

        Args:
            images: how many pictures.
            steps: denoising steps; by default the model's own.
            variation: 0 for exactly this face; up to 1: each picture of a relative of it.
            seed: of the pictures; another seed gives other pictures.
            guidance: how much the person is exaggerated, 1 is none; by default the model's own.
            person: seed of the person who does not exist, if no identity is given.
            identity: what /sample or /identify answered.
            model: name of one of the models of this app; empty for its first.
            attributes: how they look, by name, such as {"yaw": 30, "smile": 1, "glasses": "yes"}; a mistake lists what
                there is.

        Returns:
            Scores and settings; while it works {"share": how much is done}. `against` says what the judge compared
            with: "own pictures" means that a picture agrees with the model's own ones of this person, or does not.
            The pictures as PNG files.
            A zip of the pictures with their manifest.
            All pictures on one sheet.
        """
        chosen = self.models.get(model)
        recipe = Recipe.of(chosen, images, steps, variation, guidance, seed, attributes)
        self.limits.admit(request, recipe.images)
        if identity is None:
            who = actions.sample(chosen, person)[0]
        else:
            who = self.seals.open(identity, chosen, self.settings.vector_uploads)
        result: Any = None
        with self.networks.snapshots(model, recipe.images, recipe, actions.generate, who) as snapshots:
            for result in snapshots:
                if isinstance(result, Progress):  # a generator, so that a client can cancel it
                    yield {"share": round(result.share, 3)}, [], None, None  # type: ignore[misc]
        with tempfile.TemporaryDirectory(prefix="idgen-") as folder:  # Gradio copies the files when they are yielded
            files, archive, sheet = actions.write(result, Path(folder))
            yield actions.report(result), [_file(path) for path in files], _file(archive), _file(sheet)  # type: ignore[misc]

    def compare(
        self, request: gr.Request, first: FileData, second: FileData, consent: bool = False, model: str = ""
    ) -> dict[str, Any]:
        """Say whether two pictures show the same person, with the error rate of that verdict.

        Args:
            first: a picture with one clear face.
            second: the other one.
            consent: true if everybody on them agreed; without it nothing is read.
            model: name of one of the models of this app; empty for its first.

        Returns:
            cosine and threshold of the encoder, judge_cosine and judge_threshold of the independent judge, match, fmr,
            domain (of the calibration; null and no verdict where none applies), verdict, and a sentence.
        """
        pictures = take([first, second], 2)
        self.limits.admit(request)
        result = self.networks.compare(model, pictures, consent)
        if result.comparison is None:
            return {"cosine": result.cosine, "match": None, "verdict": None, "sentence": result.sentence}
        return {**asdict(result.comparison), "verdict": result.comparison.verdict, "sentence": result.sentence}


def _file(path: Path) -> Any:
    return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
