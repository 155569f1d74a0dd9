"""Identities to pictures: diffusers pipelines."""

from pathlib import Path

from idgen.ground.errors import InputError
from idgen.pipelines.arc2face import Arc2FacePipeline
from idgen.pipelines.base import GeneratedImage, IdentityOutput, IdentityPipeline
from idgen.pipelines.idiff_face import IDiffFacePipeline
from idgen.pipelines.uiface import UIFacePipeline

__all__ = [
    "Arc2FacePipeline",
    "GeneratedImage",
    "IDiffFacePipeline",
    "IdentityOutput",
    "IdentityPipeline",
    "UIFacePipeline",
    "pipeline_class",
]

_CLASSES: dict[str, type[IdentityPipeline]] = {
    kind.__name__: kind for kind in (Arc2FacePipeline, IDiffFacePipeline, UIFacePipeline)
}


def pipeline_class(folder: Path) -> type[IdentityPipeline]:
    """The class that a pipeline's folder was saved by.

    Raises:
        InputError: it is none of ours.
    """
    name = IdentityPipeline.load_config(folder).get("_class_name")
    kind = _CLASSES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InputError(f"The pipeline in {folder} is a {name!r}, which is no pipeline of idgen: update idgen?")
    return kind
