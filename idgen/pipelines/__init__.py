"""Identities to pictures: diffusers pipelines."""

from idgen.pipelines.idiff_face import GeneratedImage, IDiffFaceOutput, IDiffFacePipeline
from idgen.pipelines.uiface import UIFacePipeline

__all__ = ["GeneratedImage", "IDiffFaceOutput", "IDiffFacePipeline", "UIFacePipeline"]
