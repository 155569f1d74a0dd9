"""Identities to pictures: diffusers pipelines, which diffusers writes and reads by the name ["idgen", "Class"]."""

import logging
import sys
from pathlib import Path

import diffusers
from diffusers.pipelines import pipeline_loading_utils

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

# A name that outlives moving a class to another module.
_HOW = ["save_pretrained", "from_pretrained"]
pipeline_loading_utils.LOADABLE_CLASSES["idgen"] = {"ModelMixin": _HOW, "SchedulerMixin": _HOW}
vars(diffusers).update(_CLASSES)
# Where a repository brings code for people without idgen, diffusers would run that rather than import idgen, unless
# idgen looks like one of its own pipeline modules; it then also says that it cannot check what we pass, by its whole
# representation.
vars(diffusers.pipelines)["idgen"] = sys.modules["idgen"]
logging.getLogger(pipeline_loading_utils.__name__).addFilter(
    lambda record: not record.getMessage().startswith("You have passed a non-standard module")
)
# A schedule's file says what any scheduler may need; LCMScheduler would list what it does not.
logging.getLogger("diffusers.configuration_utils").addFilter(
    lambda record: "were passed to LCMScheduler" not in record.getMessage()
)


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
