"""What lets diffusers write and read our pipelines by the name ["idgen", "Class"]."""

from __future__ import annotations

import logging
import sys

import diffusers
from diffusers.pipelines import pipeline_loading_utils
from diffusers.pipelines.pipeline_utils import DiffusionPipeline


def register(pipeline: type[DiffusionPipeline]) -> None:
    """Let diffusers write and read `["idgen", "Class"]`, a name that outlives moving the class to another module."""
    how = ["save_pretrained", "from_pretrained"]
    pipeline_loading_utils.LOADABLE_CLASSES["idgen"] = {"ModelMixin": how, "SchedulerMixin": how}
    # Where a repository brings code for people without idgen, diffusers would run that rather than import idgen, unless
    # idgen looks like one of its own pipeline modules; it then also says that it cannot check what we pass, by its
    # whole representation.
    setattr(diffusers.pipelines, "idgen", sys.modules["idgen"])  # noqa: B010
    logging.getLogger(pipeline_loading_utils.__name__).addFilter(_is_needed)
    setattr(diffusers, pipeline.__name__, pipeline)


def _is_needed(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("You have passed a non-standard module")
