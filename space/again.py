"""What is on the screen, once more: as Python, as commands, and as the settings in a link."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from idgen.hub import DEFAULT_MODEL, builtin_models
from idgen.identity import Identity

from .actions import CROWD, MORPH, NEIGHBOURS, SELF, Point, Recipe

_OURS = "a model of this app's own: give the path of its folder instead of its name"
_DRAWN = re.compile(r"sampled, seed (\d+), number 0")


@dataclass(frozen=True)
class Again:
    """The code and the commands that make the same pictures, and the link's query; "" where there is none."""

    python: str
    commands: str
    query: str


def seed_of(identity: Identity) -> int | None:
    """The seed that samples this very person; None for everybody else."""
    drawn = _DRAWN.fullmatch(identity.source)
    return int(drawn[1]) if drawn else None


def pictures(identity: Identity, recipe: Recipe, model: str) -> Again:
    """Of one person's pictures."""
    seed = seed_of(identity)
    file = f"{identity.name}.safetensors"
    python = _python(
        model,
        [("person", identity)],
        f"pictures = model.pipeline(person, {recipe.images}, {_options(recipe)}).images",
    )
    who = "" if seed is None else f"idgen sample -n 1 --seed {seed} --out {file}{_model(model)}\n"
    who = f"# {model} is {_OURS}\n{who}" if _ours(model) else who
    commands = (
        f"{who}idgen generate {file} --images {recipe.images} --steps {recipe.steps} --guidance {recipe.guidance:g} "
        f"--variation {recipe.variation:g} --seed {recipe.seed} --out pictures{_model(model)}"
    )
    return Again(python, commands, "" if seed is None else _query("one", seed, recipe, model))


def strip(first: Identity, second: Identity, recipe: Recipe, model: str) -> Again:
    """Of a morph strip."""
    python = _python(
        model,
        [("first", first), ("second", second)],
        f"people = interpolate(first, second, {MORPH})\n\n\n"
        "def share_noise(pipeline, step, timestep, tensors):  # all go on from one picture's latents\n"
        '    latents = tensors["latents"]\n'
        '    return {"latents": latents[:1].expand_as(latents)} if step == 0 else None\n\n\n'
        "pictures = model.pipeline(\n"
        f"    people, 1, batch_size={MORPH}, callback_on_step_end=share_noise, {_options(recipe)}\n"
        ").images",
        "from idgen.sampling.interpolation import interpolate\n",
    )
    seeds = seed_of(first), seed_of(second)
    query = "" if None in seeds else _query("two", seeds[0], recipe, model, other=seeds[1])
    return Again(python, "", query)


def points(identity: Identity, measured: Sequence[Point], model: str) -> Again:
    """Of the pictures behind the last point of a trade-off; the link measures all of them."""
    recipe, seed = measured[-1].recipe, seed_of(identity)
    made, tab = pictures(identity, recipe, model), "explore" if len(measured) == 1 else "curve"
    return Again(made.python, made.commands, "" if seed is None else _query(tab, seed, recipe, model))


def nearest(identity: Identity, recipe: Recipe, model: str) -> Again:
    """Of the nearest sampled people."""
    python = _python(
        model,
        [("person", identity)],
        f"crowd = model.sampler.sample({CROWD}, seed=0)\n"
        "cosines = crowd.vectors @ person.vector\n"
        f"cosines[cosines > {SELF}] = -2  # that is the person\n"
        f"rows = cosines.argsort(descending=True)[:{NEIGHBOURS}].tolist()\n"
        f"pictures = [model.pipeline(crowd[row : row + 1], 1, {_options(recipe)}).images[0] for row in rows]",
    )
    seed = seed_of(identity)
    return Again(python, "", "" if seed is None else _query("near", seed, recipe, model))


def _python(model: str, people: list[tuple[str, Identity]], code: str, imports: str = "") -> str:
    from_files = any(seed_of(person) is None for _, person in people)
    head = "from idgen.hub import load_model\n"
    if from_files:
        head += "from idgen.identity import Identities\n"
    lines = [f'model = load_model("{model}")' + (f"  # {_OURS}" if _ours(model) else "")]
    for name, person in people:
        seed = seed_of(person)
        if seed is None:
            lines.append(f'{name} = Identities.load("{person.name}.safetensors")[0]  # the downloaded face vector')
        else:
            lines.append(f"{name} = model.sampler.sample(1, seed={seed})[0]  # nobody: sampled")
    return f"{head}{imports}\n" + "\n".join(lines) + f"\n{code}\n"


def _ours(model: str) -> bool:
    """Whether it is a folder of the operator's: visitors see its name, not where it lies."""
    return model not in builtin_models() and "/" not in model


def _options(recipe: Recipe) -> str:
    variation = f"variation_cosine=1 - {recipe.variation!r}, " if recipe.variation else ""
    return f"num_inference_steps={recipe.steps}, guidance_scale={recipe.guidance!r}, {variation}seed={recipe.seed}"


def _model(model: str) -> str:
    return "" if model == DEFAULT_MODEL else f" --model {model}"


def _query(tab: str, person: int | None, recipe: Recipe, model: str, other: int | None = None) -> str:
    values = {
        "tab": tab,
        "person": person,
        **({} if other is None else {"other": other}),
        "pictures": recipe.images,
        "steps": recipe.steps,
        "guidance": f"{recipe.guidance:g}",
        "variation": f"{recipe.variation:g}",
        "seed": recipe.seed,
        "model": model,
    }
    return "?" + urlencode(values)
