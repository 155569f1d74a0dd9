"""Arc2Face: the pipeline, the text encoder, what is added to the denoiser, and the published files."""

from idgen.pipelines.arc2face.pipeline import Arc2FacePipeline
from idgen.pipelines.arc2face.text_encoder import EncodedIdentities

__all__ = ["Arc2FacePipeline", "EncodedIdentities"]
