"""Identities to pictures: diffusers pipelines."""

from idgen.pipelines.idiff_face import GeneratedImage, IDiffFaceOutput, IDiffFacePipeline

__all__ = ["GeneratedImage", "IDiffFaceOutput", "IDiffFacePipeline"]
