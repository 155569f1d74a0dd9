"""Identities to pictures: diffusers pipelines."""

from pathlib import Path

from idgen.errors import InputError
from idgen.pipelines.idiff_face import GeneratedImage, IDiffFaceOutput, IDiffFacePipeline
from idgen.pipelines.uiface import UIFacePipeline

__all__ = ["GeneratedImage", "IDiffFaceOutput", "IDiffFacePipeline", "UIFacePipeline", "pipeline_class"]


def pipeline_class(folder: Path) -> type[IDiffFacePipeline]:
    """The class that a pipeline's folder was saved by.

    Raises:
        InputError: it is none of ours.
    """
    name = IDiffFacePipeline.load_config(folder).get("_class_name")
    kind = {kind.__name__: kind for kind in (IDiffFacePipeline, UIFacePipeline)}.get(name)
    if kind is None:
        raise InputError(f"The pipeline in {folder} is a {name!r}, which is no pipeline of idgen: update idgen?")
    return kind
