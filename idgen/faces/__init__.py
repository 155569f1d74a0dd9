"""From a photo to a vector: the face found, cut out, embedded.

A kind of recogniser is a class derived from `FaceEncoder` in a file of its own. Imported here, it is known to
`FaceEncoder.from_pretrained` by the `_class_name` in its folder's config.json.
"""

from idgen.faces.dlib_resnet import DlibEncoder
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import Detection, FaceFinder
from idgen.faces.insight import InsightFaceEncoder

__all__ = ["Detection", "DlibEncoder", "FaceEncoder", "FaceFinder", "InsightFaceEncoder"]
