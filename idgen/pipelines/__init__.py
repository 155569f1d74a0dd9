"""Identities to pictures: diffusers pipelines."""

from idgen.pipelines.arc2face import Arc2FacePipeline
from idgen.pipelines.base import GeneratedImage, IdentityOutput, IdentityPipeline
from idgen.pipelines.idiff_face import IDiffFacePipeline

__all__ = ["Arc2FacePipeline", "GeneratedImage", "IDiffFacePipeline", "IdentityOutput", "IdentityPipeline"]
