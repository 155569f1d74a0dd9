"""How similar a model's pictures of varied vectors are to the person: measured, not promised."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from idgen.ground import arguments, files
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.guidance import Guidance, parse_guidance
from idgen.ground.identity import Identities, Identity, key, vector_seed
from idgen.sampling.boundary import Boundary
from idgen.sampling.variation import Cone, SimilarityCurve, Variation, vary

if TYPE_CHECKING:
    from idgen.faces.encoder import FaceEncoder
    from idgen.model import Model

OWN_PICTURES, OWN_SEED = 4, 20_251_126
"""Pictures of a person that others are judged by where there is nothing else, and the seed of their run."""
MOST_PICTURES = 1000
"""That are made for one choice."""
CURVE = "similarity-curve.json"
CURVE_COSINES = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def embed_pictures(model: Model, viewer: FaceEncoder, pictures: list[Any]) -> Tensor:
    """(N, D) of a model's pictures; NaN where no face is found."""
    return model.encoder.embed_by(pictures, [viewer], model.pipeline.aligned)[0]


def keeping(pipeline: Any, vectors: Tensor) -> dict[str, Any]:
    """Options of `iterate` for variations of people (N, D): where a pipeline draws how people look, as these people
    usually do."""
    return {"habits": vectors} if getattr(pipeline, "prior", None) is not None else {}


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """`size` items at a time; the last ones may be fewer."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


@pinned()
def identity_boundary(
    model: Model,
    person: Identity,
    draws: Literal["vector", "noise"] = "vector",
    pool: int = 64,
    seed: int = 0,
    *,
    lowest_cosine: float = 0.5,
    steps: int | None = None,
    guidance: Guidance | str | None = None,
) -> Boundary:
    """Which way is "more like this person", by a pool of pictures (ExFaceGAN); see `idgen.sampling.boundary.Boundary`.

    Vectors on its similar side are sampled by `boundary.sample(person.vector, …)` and pictured as identities; noises by
    `boundary.sample(noise, …)` and pictured by `pipeline(person, n, latents=…)`.

    Args:
        model: paints, and embeds what it painted.
        person: whom the pictures are compared with, by the encoder.
        draws: "vector", vectors in a cone around the person; or "noise", what pictures of the person start from.
        pool: how many pictures, 8 to 1,000; those without a face are left out.
        seed: of the draws.
        lowest_cosine: of the cone.
        steps, guidance: denoising steps and guidance scale; by default the model's.

    Raises:
        InputError: an argument is out of range, or hardly a picture shows a face.
    """
    arguments.whole("number of pictures in the pool", pool, 8, MOST_PICTURES)
    options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
    if draws == "noise":
        generator = Generator().manual_seed(vector_seed(seed, key(person.vector), 0))
        drawn = torch.randn(pool, *model.pipeline.latent_shape, generator=generator, dtype=torch.float32)
        made = model.pipeline.iterate(person, pool, latents=drawn, **options)
    else:
        around = vary(Identities.of([person]), Cone(lowest_cosine), pool, seed)
        drawn = around.vectors
        options |= keeping(model.pipeline, person.vector.expand(pool, -1))
        made = model.pipeline.iterate(around, 1, seed=seed, first=list(range(pool)), **options)
    seen = embed_pictures(model, model.encoder, [item.image for item in made])
    found = seen[:, 0].isfinite()
    return Boundary.fit(drawn[found], (seen @ person.vector)[found])


def boundaries(
    model: Model, steps: int | None = None, guidance: Guidance | str | None = None
) -> Callable[[Tensor], Boundary]:
    """What gives the identity boundary of a vector (D,), measured when it is first asked for; warns where it says no
    more than chance."""
    known: dict[int, Boundary] = {}

    def boundary(vector: Tensor) -> Boundary:
        name = key(vector)
        if name not in known:
            person = Identity(vector, model.pipeline.config.space, "", "person")
            known[name] = identity_boundary(model, person, steps=steps, guidance=guidance)
            if known[name].accuracy <= 0.5:
                warnings.warn(
                    "The pictures of a person do not say which way is more like them: this variation is as good as "
                    "any direction for them.",
                    stacklevel=2,
                )
        return known[name]

    return boundary


@pinned()
def measure_similarity(
    model: Model,
    cosines: Sequence[float] = CURVE_COSINES,
    people: int = 25,
    images: int = 4,
    steps: int | None = None,
    guidance: Guidance | str | None = None,
) -> SimilarityCurve:
    """How similar pictures of varied vectors are to the person, by the model's encoder.

    Args:
        model: paints, and embeds what it painted.
        cosines: of the cones to measure at.
        people, images: how many sampled people, and pictures of each, at every cosine.
        steps, guidance: denoising steps and guidance scale; by default the model's.

    Raises:
        InputError: fewer than two cosines, or an argument out of range.
    """
    crowd = model.sampler.sample(people, 0)
    measured = []
    for cosine in cosines:
        values = similarities(model, crowd, Cone(cosine, cosine), images, 0, steps=steps, guidance=guidance)
        found = np.isfinite(values)
        if not found.any():
            seen = f"any of {len(values)} pictures by {model.name!r} at cosine {cosine:g}"
            raise InputError(f"No face was found in {seen}, so no similarity can be measured.")
        measured.append(np.where(found, values, values[found].mean()))  # those without a face say nothing
    fingerprint = model.fingerprint
    return SimilarityCurve.fit(cosines, measured, model=model.name, weights=fingerprint, space=model.encoder.space)


@pinned()
def similarities(
    model: Model,
    people: Identities,
    variation: Variation,
    images: int,
    seed: int,
    *,
    steps: int | None = None,
    guidance: Guidance | str | None = None,
) -> NDArray[np.float64]:
    """(people · images,) the encoder's cosine of each picture of a varied vector to the person, person by person; NaN
    where no face is found."""
    varied = vary(people, variation, images, seed)
    wanted = people.vectors.repeat_interleave(images, 0)
    out: list[Tensor] = []
    numbers = list(range(images)) * len(people)
    options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance, "batch_size": 8}
    options |= keeping(model.pipeline, wanted)
    made = model.pipeline.iterate(varied, 1, seed=seed, first=numbers, **options)
    for batch in batched(made, 32):
        seen = embed_pictures(model, model.encoder, [item.image for item in batch])
        out.append((seen * wanted[[item.identity for item in batch]]).sum(1))
    return torch.cat(out).double().numpy()


def similarity_curve(model: Model, guidance: Guidance | str | None = None) -> SimilarityCurve:
    """The model's curve at a guidance scale, also in words; by default the model's own.

    From its folder, from the cache, or measured now and put into the cache, by its weights. Warns where it cannot be
    kept there.
    """
    usual, kept, cannot = model.pipeline.own_guidance, list[Path](), ""
    fingerprint, scale = model.fingerprint, usual if guidance is None else parse_guidance(guidance)
    configs = model.pipeline.config, files.read_json(Path(model.folder) / "model_index.json")
    told, saved = ({name: of.get(name, plain) for name, plain in arguments.SETTINGS.items()} for of in configs)
    own = scale == usual and told == saved  # a plan may have told otherwise
    name = fingerprint if own else f"{fingerprint}-{hashlib.sha256(f'{scale} {told}'.encode()).hexdigest()[:8]}"
    try:
        kept.append(files.cache("similarity", f"{name}.json"))
    except InputError as error:
        cannot = str(error)
    for path in [Path(model.folder) / CURVE] * own + kept:
        if path.is_file():
            curve = SimilarityCurve.load(path)
            if curve.weights == fingerprint:  # else it is of weights that were replaced
                return curve
    curve = measure_similarity(model, guidance=scale)
    try:
        for cached in kept:
            files.check_cache(cached)
            curve.save(cached)
    except InputError as error:
        cannot = str(error)
    if cannot:
        warnings.warn(f"The model's similarity will be measured again the next time. {cannot}", stacklevel=2)
    return curve


def with_own_pictures(
    model: Model,
    people: Identities,
    fmr: float = arguments.FMR,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Identities:
    """The same people, where only a model's own pictures can tell whether further ones agree: with the judge's mean of
    four of them, of fixed seeds, in `also`.

    So it is with sampled people of a model whose bridge to the judge is too poor, where the judge was measured on its
    pictures (`idgen model add`).

    Args:
        model: paints, and judges.
        people: who.
        fmr: false-match rate of the verdicts.
        options: `num_inference_steps` and the like, for the pipeline.
        progress: show a bar.
    """
    if not (model.has("judge") and model.has("encoder")):
        return people
    scorer, judge = model.scorer_at(fmr), model.judge.recognizer
    rows = [row for row, person in enumerate(people) if scorer.wants_own_pictures(person)]
    if not rows:
        return people
    seen: dict[int, list[Tensor]] = {}
    made = model.pipeline.iterate(people.take(rows), OWN_PICTURES, seed=OWN_SEED, **(options or {}))
    total = len(rows) * OWN_PICTURES
    for batch in batched(tqdm(made, desc="own pictures", total=total, unit="image", disable=not progress), 8):
        vectors = embed_pictures(model, judge, [item.image for item in batch])
        for item, vector in zip(batch, vectors, strict=True):
            if vector.isfinite().all():
                seen.setdefault(rows[item.identity], []).append(vector)
    own = {row: {judge.space: normalize(torch.stack(some).mean(0), dim=0)} for row, some in seen.items()}
    also = [{**person.also, **own.get(row, {})} for row, person in enumerate(people)]
    return Identities(people.vectors, people.space, people.sources, people.names, also)
