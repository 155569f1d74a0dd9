"""From a face-recognition vector, or from nobody at all, to many pictures of one person, each with an honest score.

Nothing heavy is imported before it is used: every name below is fetched from its module at the first access.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

from idgen.ground import uploading
from idgen.ground.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from idgen.auditing.audit import audit
    from idgen.choosing import best_of
    from idgen.faces.encoder import FaceEncoder
    from idgen.faces.reader import AttributeReader
    from idgen.ground.errors import InputError
    from idgen.ground.identity import Identities, Identity
    from idgen.model import Judge, Model, load_model
    from idgen.models import (
        AttributeNet,
        AttributePrior,
        FaceAutoencoder,
        FaceFinderNet,
        IdentityDiT,
        IdentityUNet,
        IResNetRecognizer,
        PlainRecognizer,
        PocketNetRecognizer,
        ResNetRecognizer,
    )
    from idgen.painting import generate
    from idgen.pipelines import Arc2FacePipeline, IDiffFacePipeline, UIFacePipeline
    from idgen.pipelines.schedulers import IDiffFaceScheduler, UIFaceScheduler
    from idgen.sampling.boundary import Boundary
    from idgen.sampling.sampler import IdentitySampler
    from idgen.sampling.separation import nearest_other, separate
    from idgen.scoring import Scorer
    from idgen.sharing.push import push
    from idgen.similarity import identity_boundary
    from idgen.study.run import run_study

_NAMES = {
    "auditing.audit": "audit",
    "choosing": "best_of",
    "faces.encoder": "FaceEncoder",
    "faces.reader": "AttributeReader",
    "ground.errors": "InputError",
    "ground.identity": "Identities Identity",
    "model": "Judge Model load_model",
    "models": "AttributeNet AttributePrior FaceAutoencoder FaceFinderNet IdentityDiT IdentityUNet "
    "IResNetRecognizer PlainRecognizer PocketNetRecognizer ResNetRecognizer",
    "painting": "generate",
    "pipelines": "Arc2FacePipeline IDiffFacePipeline UIFacePipeline",
    "pipelines.schedulers": "IDiffFaceScheduler UIFaceScheduler",
    "sampling.boundary": "Boundary",
    "sampling.sampler": "IdentitySampler",
    "sampling.separation": "nearest_other separate",
    "scoring": "Scorer",
    "sharing.push": "push",
    "similarity": "identity_boundary",
    "study.run": "run_study",
}
_HOME = {name: f"idgen.{module}" for module, names in _NAMES.items() for name in names.split()}
# diffusers looks for a component's base class in the library that model_index.json names: ["idgen", "IdentityDiT"].
_BASES = {"ModelMixin": "diffusers.models.modeling_utils", "SchedulerMixin": "diffusers.schedulers.scheduling_utils"}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name) or _BASES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


# Where the modules of before 0.2 are now: their names are imported from there, with a warning.
_MOVED = {
    **{
        name: f"idgen.ground.{name}"
        for name in ("contact_sheet", "errors", "hub", "identity", "options", "provenance", "vectors")
    },
    "checkpoints": "idgen.ground.weights",
    "faces.images": "idgen.ground.images",
    "evaluation.source": "idgen.sets",
    "evaluation.verification": "idgen.scoring.verification",
    "pipelines.expression": "idgen.pipelines.arc2face.expression",
    "pipelines.normals": "idgen.pipelines.arc2face.normals",
}


class _Moved:
    """Fills a module of an old name with what its successor holds, and with the public names that were in it."""

    def __init__(self, home: str):
        self.home = home

    def create_module(self, spec: ModuleSpec) -> None: ...

    def exec_module(self, module: ModuleType) -> None:
        warnings.warn(f"{module.__name__} is {self.home} now; use the names of `import idgen`.", DeprecationWarning, 2)
        moved = {name: __getattr__(name) for name in ("Model", "load_model") if module.__name__ == "idgen.hub"}
        held = vars(importlib.import_module(self.home)).items()
        vars(module).update({**{name: value for name, value in held if not name.startswith("__")}, **moved})


class _Finder:
    """Finds modules by their old names; and makes our pipelines known to diffusers as soon as somebody imports its
    pipelines: `DiffusionPipeline.from_pretrained` resolves them after a plain `import idgen`, which does not import
    diffusers."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        old = fullname.removeprefix("idgen.")
        if old in _MOVED and old != fullname:
            return ModuleSpec(fullname, _Moved(_MOVED[old]))  # type: ignore[arg-type]
        if fullname != "diffusers.pipelines.pipeline_utils":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                importlib.import_module("idgen.pipelines")

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


# What `push` of models and `push_to_hub` of pipelines and encoders call, which know nothing of uploading.
uploading.uploader = lambda *what, **options: __getattr__("push")(*what, **options)

sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
if "diffusers.pipelines.pipeline_utils" in sys.modules:
    importlib.import_module("idgen.pipelines")
