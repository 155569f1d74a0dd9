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

    @property
    def markdown(self) -> str:
        """What is shown of it."""
        commands = f"\n\nOn the command line:\n\n```bash\n{self.commands}\n```" if self.commands else ""
        return f"```python\n{self.python}```{commands}"


def seed_of(identity: Identity) -> int | None:
    """The seed that samples this very person; None for everybody else."""
    drawn = _DRAWN.fullmatch(identity.source)
    return int(drawn[1]) if drawn else None


def pictures(identity: Identity, recipe: Recipe, model: str, tab: str = "one") -> Again:
    """Of one person's pictures."""
    if recipe.variation:
        code = (
            f"varied = vary(Identities.of([person]), parse_variation({recipe.variation!r}), {recipe.images}, "
            f"seed={recipe.seed})  # a vector for each\n"
            f"pictures = model.pipeline(varied, first=range({recipe.images}), {_options(recipe)}).images"
        )
        imports = "from idgen.sampling.variation import parse_variation, vary\n"
    else:
        code, imports = f"pictures = model.pipeline(person, {recipe.images}, {_options(recipe)}).images", ""
    seed, file = seed_of(identity), f"{identity.name}.safetensors"
    of = "" if model == DEFAULT_MODEL else f" --model {model}"
    commands = (
        (f"# {model} is {_OURS}\n" if _ours(model) else "")
        + ("" if seed is None else f"idgen sample -n 1 --seed {seed} --out {file}{of}\n")
        + f"idgen generate {file} --images {recipe.images} --steps {recipe.steps} --guidance {recipe.guidance:g} "
        f"--variation {recipe.variation:g} --seed {recipe.seed} --out pictures{of}"
    )
    python = _python(model, {"person": identity}, code, imports)
    return Again(python, commands, _query(tab, {"person": seed}, recipe, model))


def strip(first: Identity, second: Identity, recipe: Recipe, model: str) -> Again:
    """Of a morph strip."""
    code = (
        f"people = interpolate(first, second, {MORPH})\n\n\n"
        "def share_noise(pipeline, step, timestep, tensors):  # all go on from one picture's latents\n"
        '    latents = tensors["latents"]\n'
        '    return {"latents": latents[:1].expand_as(latents)} if step == 0 else None\n\n\n'
        "pictures = model.pipeline(\n"
        f"    people, 1, batch_size={MORPH}, callback_on_step_end=share_noise, {_options(recipe)}\n"
        ").images"
    )
    imports = "from idgen.sampling.interpolation import interpolate\n"
    python = _python(model, {"first": first, "second": second}, code, imports)
    seeds = {"person": seed_of(first), "other": seed_of(second)}
    return Again(python, "", _query("two", seeds, recipe, model))


def points(identity: Identity, measured: Sequence[Point], model: str) -> Again:
    """Of the pictures behind the last point of a trade-off; the link measures all of them."""
    return pictures(identity, measured[-1].recipe, model, "explore" if len(measured) == 1 else "curve")


def nearest(identity: Identity, recipe: Recipe, model: str) -> Again:
    """Of the nearest sampled people."""
    code = (
        f"crowd = model.sampler.sample({CROWD}, seed=0)\n"
        "cosines = crowd.vectors @ person.vector\n"
        f"cosines[cosines > {SELF}] = -2  # that is the person\n"
        f"rows = cosines.argsort(descending=True)[:{NEIGHBOURS}].tolist()\n"
        f"pictures = [model.pipeline(crowd[row : row + 1], 1, {_options(recipe)}).images[0] for row in rows]"
    )
    query = _query("near", {"person": seed_of(identity)}, recipe, model)
    return Again(_python(model, {"person": identity}, code), "", query)


def _python(model: str, people: dict[str, Identity], code: str, imports: str = "") -> str:
    lines = [f'model = load_model("{model}")' + (f"  # {_OURS}" if _ours(model) else "")]
    for name, person in people.items():
        seed = seed_of(person)
        if seed is None:
            lines.append(f'{name} = Identities.load("{person.name}.safetensors")[0]  # the downloaded face vector')
        else:
            lines.append(f"{name} = model.sampler.sample(1, seed={seed})[0]  # nobody: sampled")
    names = "Identities, load_model" if "Identities." in code + "".join(lines) else "load_model"
    return f"from idgen import {names}\n{imports}\n" + "\n".join([*lines, code]) + "\n"


def _ours(model: str) -> bool:
    """Whether it is a folder of the operator's: visitors see its name, not where it lies."""
    return model not in builtin_models() and "/" not in model


def _options(recipe: Recipe) -> str:
    return f"num_inference_steps={recipe.steps}, guidance_scale={recipe.guidance!r}, seed={recipe.seed}"


def _query(tab: str, seeds: dict[str, int | None], recipe: Recipe, model: str) -> str:
    """For a link; somebody from a photo has none, as it would have to hold the face."""
    if None in seeds.values():
        return ""
    return "?" + urlencode(
        {
            "tab": tab,
            **seeds,
            "pictures": recipe.images,
            "steps": recipe.steps,
            "guidance": f"{recipe.guidance:g}",
            "variation": f"{recipe.variation:g}",
            "seed": recipe.seed,
            "model": model,
        }
    )
