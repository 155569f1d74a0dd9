"""insightface's packs as face encoders: a detector and a recogniser in ONNX, in a folder, by name or from the Hub.

The pretrained packs of insightface may be used for non-commercial research only, whoever hands them out.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.utils import CONFIG_NAME
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from idgen.faces.align import TEMPLATE_SIZE, scale_of, similarity, template
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import Detection
from idgen.faces.pixels import to_side
from idgen.ground.errors import InputError, require_package
from idgen.ground.files import left_behind
from idgen.ground.hub import BUILTIN, DEFAULT_MODEL, resolve
from idgen.ground.weights import is_pointer

ROOT = Path("~/.insightface/models")
"""Where insightface keeps its packs."""
DET_SIZES = ((128, 128), (256, 256), (640, 640))
"""Sizes at which faces are looked for, together. The small ones find faces that fill the picture, as in tight crops and
generated portraits, which 640 alone misses."""
SPACES = {
    "arcface.onnx": "arcface-webface42m",
    "glintr100.onnx": "antelopev2",
    "w600k_r50.onnx": "buffalo_l",
    "w600k_mbf.onnx": "buffalo_s",
}
"""A recogniser's file name → its embedding space. The first two look alike and are not: arcface.onnx is Arc2Face's."""
LICENCE = "insightface's models, and vectors by them, are for non-commercial research only."
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_ROOM = 0.4  # side of the border added around a picture in which no face was found, as a share of its longer side


class InsightFaceEncoder(FaceEncoder):
    """A `FaceEncoder` of an insightface pack, aligning and embedding as insightface does.

    Vectors are normalised, not averaged with those of the mirrored face, as Arc2Face's code has them.

    Args:
        detector, recognizer: ONNX files; without a detector, only aligned faces are read.
        space: name of the embedding space; by default after the recogniser's file name, see `SPACES`.
        det_sizes: (width, height) of the views in which faces are looked for.
        threshold: confidence from which a face counts.
        calibration: see `FaceEncoder`.

    Raises:
        InputError: the package is missing, or a file is damaged or is no such network.
    """

    def __init__(
        self,
        detector: Path | None,
        recognizer: Path,
        *,
        space: str | None = None,
        det_sizes: Sequence[tuple[int, int]] = DET_SIZES,
        threshold: float = 0.5,
        calibration: dict[str, Any] | None = None,
    ):
        self.files = (*([] if detector is None else [Path(detector)]), Path(recognizer))
        self.det_sizes = [(int(width), int(height)) for width, height in det_sizes]
        if not self.det_sizes or any(side < 32 or side % 32 for size in self.det_sizes for side in size):
            raise InputError(f"Detection sizes are multiples of 32, such as (640, 640), got {self.det_sizes}.")
        self._recognizer = _load(self.files[-1], "recognition")
        self._detector, self.finder = None, None
        if detector is not None:
            self._detector = _load(self.files[0], "detection")
            self._detector.prepare(0, input_size=self.det_sizes, det_thresh=threshold)
            self.finder = _Finder(self._detector)  # type: ignore[assignment]
        self.space = space or SPACES.get(self.files[-1].name, f"insightface-{self.files[-1].stem}")
        self.flip, self.alignment = False, "arcface"
        self.threshold, self.calibration = threshold, calibration
        self._dim = int(self._embed(torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.float32)).shape[1])

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def image_size(self) -> int:
        return int(self._recognizer.input_size[0])

    @property
    def scaled(self) -> tuple[float, float]:
        """What is taken from the file's pixels, from 0 to 255, and by what they are then divided."""
        return float(self._recognizer.input_mean), float(self._recognizer.input_std)

    @property
    def providers(self) -> tuple[str, ...]:
        """What really computes, first choice first: a CUDA that could not be set up is not among them."""
        return tuple(self._recognizer.session.get_providers())

    @property
    def notice(self) -> str:  # type: ignore[override]
        """Which files run on what, and the licence."""
        return f"{' and '.join(file.name for file in self.files)} on {self.providers[0]}. {LICENCE}"

    def to(self, device: torch.device | str) -> InsightFaceEncoder:
        """Compute there; warns, and stays on the CPU, where onnxruntime cannot."""
        import onnxruntime
        from insightface.model_zoo.onnxruntime_utils import preload_cuda_libraries

        wanted = [_CUDA, _CPU] if torch.device(device).type == "cuda" else [_CPU]
        if wanted[0] in onnxruntime.get_available_providers() and wanted[0] != self.providers[0]:
            preload_cuda_libraries(wanted)
            for model in filter(None, (self._detector, self._recognizer)):
                model.session.set_providers(wanted)
        if self.providers[0] != wanted[0]:
            warnings.warn(
                f"The face encoder runs on {self.providers[0]}, not on {wanted[0]}: this onnxruntime cannot use it. "
                "For a GPU: pip uninstall onnxruntime, then pip install onnxruntime-gpu.",
                stacklevel=2,
            )
        return self

    def on_one_thread(self) -> None:
        """Compute on the CPU, with one thread, from now on."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        models = [self._recognizer] if self._detector is None else [self._detector, self._recognizer]
        for file, model in zip(self.files, models, strict=True):
            model.session = onnxruntime.InferenceSession(str(file), options, providers=[_CPU])

    @classmethod
    def from_pack(
        cls,
        pack: str | os.PathLike[str] = "antelopev2",
        recognizer: str | os.PathLike[str] | None = None,
        *,
        root: str | os.PathLike[str] = ROOT,
        **options: Any,
    ) -> InsightFaceEncoder:
        """An insightface pack.

        Args:
            pack: name of a pack of insightface (fetched by it into `root` if it is not there), a folder, or a hub
                repository such as "DIAMONIK7777/antelopev2".
            recognizer: which file of the pack, or another ONNX file in place of the pack's: for Arc2Face, its
                `arcface.onnx`. Needed where the pack has several.
            root: where packs by name are.
            options: det_sizes, space, threshold, calibration; see the class.

        Raises:
            InputError: there is no such pack, it was fetched or unpacked incompletely, or its recogniser is not the one
                that was asked for; each with what to do.
        """
        folder = _pack_folder(os.fspath(pack), Path(os.path.expanduser(root)))  # a user may have no home
        kinds = {file: _kind(file) for file in _onnx_files(folder)}
        detectors = [file for file, kind in kinds.items() if kind == "detection"]
        recognizers = [file for file, kind in kinds.items() if kind == "recognition"]
        if not detectors:
            names = ", ".join(file.name for file in kinds)
            raise InputError(
                f"The pack {folder} has no face detector among {names}: add antelopev2's scrfd_10g_bnkps.onnx."
            )
        return cls(detectors[0], _choose(recognizers, recognizer, folder), **options)

    @classmethod
    def from_onnx(cls, file: str | os.PathLike[str], **options: Any) -> InsightFaceEncoder:
        """A recogniser alone, as `idgen export onnx` writes one; faces in photos are found by the built-in finder.

        Arguments and errors as those of the class.
        """
        encoder = cls(None, Path(file), **options)
        encoder.finder = FaceEncoder.from_pretrained(BUILTIN / DEFAULT_MODEL / "encoder").finder
        return encoder

    @classmethod
    def from_folder(
        cls, folder: Path, config: dict[str, Any], calibration: dict[str, Any] | None
    ) -> InsightFaceEncoder:
        try:
            named = [config.get("detector"), config["recognizer"]]
            files = [None if name is None else folder / Path(name).name for name in named]
            options = {name: config[name] for name in ("det_sizes", "space", "threshold")}
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder / CONFIG_NAME} is incomplete ({error!r}): convert the model again.") from error
        encoder = cls(files[0], files[1], calibration=calibration, **options)  # type: ignore[arg-type]
        if files[0] is None:
            encoder.finder = FaceEncoder.from_pretrained(BUILTIN / DEFAULT_MODEL / "encoder").finder
        return encoder

    def _save_parts(self, folder: Path) -> dict[str, Any]:
        for file in self.files:  # which keep their licence
            shutil.copy(file, folder / file.name)
        return {
            "_class_name": type(self).__name__,
            "space": self.space,
            "detector": self.files[0].name if len(self.files) > 1 else None,
            "recognizer": self.files[-1].name,
            "det_sizes": self.det_sizes,
            "threshold": self.threshold,
            "licence": LICENCE,
        }

    def crop(self, picture: Image.Image, face: Detection) -> Image.Image:
        from insightface.utils import face_align

        bgr = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        landmarks = np.asarray(face.landmarks, np.float32) - 0.5  # insightface's (0, 0) is a pixel's centre
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # scikit-image's, about how insightface calls it
            crop = face_align.norm_crop(bgr, landmarks, TEMPLATE_SIZE)
        return Image.fromarray(np.ascontiguousarray(crop[:, :, ::-1]))

    def _resize(self, pixels: Tensor) -> Tensor:
        return to_side(pixels.cpu().float(), self.image_size, antialias=True)

    def _embed(self, pixels: Tensor) -> Tensor:
        # One face a call: files with a fixed batch take no more.
        faces = (pixels * 255).round().byte().permute(0, 2, 3, 1).flip(3).numpy()  # BGR
        vectors = [np.asarray(self._recognizer.get_feat(np.ascontiguousarray(face))).reshape(-1) for face in faces]
        return torch.from_numpy(np.stack(vectors)).float()


class _Finder:
    """insightface's detector as idgen's encoders use one."""

    def __init__(self, detector: Any):
        self._detector = detector

    def find(self, image: Image.Image) -> list[Detection]:
        """All faces, the one with the largest box first, as Arc2Face's code chooses it."""
        found = self._detect(image)
        if not found:  # a face cut so tightly that its outline is outside; with room around, it may be seen
            room = round(_ROOM * max(image.size))
            wider = ImageOps.expand(image, room, (128, 128, 128))
            found = [(box, points - room, score) for box, points, score in self._detect(wider)]
        found.sort(key=lambda face: -(face[0][2] - face[0][0]) * (face[0][3] - face[0][1]))
        detections = []
        for _, points, score in found:
            landmarks = np.asarray(points + 0.5, np.float64)
            with suppress(ValueError, ZeroDivisionError):  # all landmarks in one point
                size = TEMPLATE_SIZE / scale_of(similarity(landmarks, template()))
                detections.append(Detection(landmarks, score, size))
        return detections

    def _detect(self, image: Image.Image) -> list[tuple[NDArray[Any], NDArray[Any], float]]:
        boxes, points = self._detector.detect(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))
        if points is None:
            return []
        return [(box[:4], each, float(box[4])) for box, each in zip(boxes, points, strict=True)]


def _load(file: Path, task: str) -> Any:
    zoo = require_package("insightface.model_zoo.model_zoo", "insightface", "An insightface pack")
    if not file.is_file():
        raise InputError(f"There is no file {file}: fetch the pack again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = zoo.get_model(str(file), providers=[_CPU])
    except Exception as error:  # onnxruntime and protobuf raise classes of their own
        raise _damaged(file) from error
    if getattr(model, "taskname", None) != task:
        raise InputError(f"{file} is no {task} network that insightface knows: is it the right file?")
    return model


def _damaged(file: Path) -> InputError:
    if is_pointer(file):
        return InputError(f"{file} is a git-lfs pointer, not the file itself: run `git lfs pull` in its repository.")
    size = file.stat().st_size
    return InputError(f"{file} is damaged or was cut short ({size:,} bytes): delete it and fetch it again.")


def _kind(file: Path) -> str | None:
    """What a file is for, by the same rules as insightface's; without making a session."""
    onnx = require_package("onnx", "insightface", "An insightface pack")
    try:
        graph = onnx.load(str(file), load_external_data=False).graph
        shape = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    except Exception as error:  # protobuf's errors
        raise _damaged(file) from error
    if len(graph.output) >= 5:
        return "detection"
    square = len(shape) == 4 and shape[2] == shape[3] and shape[2] >= 112 and shape[2] % 16 == 0
    return "recognition" if square and shape[2] != 192 and len(graph.output) == 1 and len(graph.input) == 1 else None


def _pack_folder(pack: str, root: Path) -> Path:
    if pack and Path(pack).is_dir():
        return Path(pack)
    if pack.count("/") == 1 and not pack.startswith((".", "/", "~")):
        return resolve(pack, patterns=["*.onnx"])
    if not pack or "/" in pack or os.sep in pack:
        raise InputError(f"There is no insightface pack {pack!r}: give a pack's name, a folder or a hub repository.")
    if not (root / pack).is_dir():
        _download(pack, root)
    return root / pack


def _download(name: str, root: Path) -> None:
    """Fetch a pack complete or not at all: insightface itself takes half of one for all of it the next time."""
    storage = require_package("insightface.utils.storage", "insightface", "An insightface pack")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The pack cannot be kept in {root} ({error.strerror}): give another `root`.") from error
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as aside:
        try:
            with redirect_stdout(io.StringIO()):  # it prints where it looks
                folder = Path(storage.download("models", name, root=aside))
        except Exception as error:  # requests' and zipfile's
            raise InputError(
                f"The insightface pack {name!r} is not in {root} and could not be fetched from "
                f"{storage.model_zoo_download_url(name + '.zip')} ({type(error).__name__}): check the name and the "
                "network, or give a folder or a hub repository."
            ) from error
        inner = folder / name
        (inner if inner.is_dir() else folder).rename(root / name)  # antelopev2's zip has a folder of its own inside


def _visible(files: Iterable[Path]) -> list[Path]:
    return sorted(file for file in files if not left_behind(file.name) and not left_behind(file.parent.name))


def _onnx_files(folder: Path) -> list[Path]:
    if files := _visible(folder.glob("*.onnx")):
        return files
    if nested := sorted({file.parent for file in _visible(folder.glob("*/*.onnx"))}):
        raise InputError(
            f"The pack {folder} has its files one level too deep, in {nested[0]} (as antelopev2's zip unpacks): move "
            f"them up into {folder}, or give {nested[0]}."
        )
    raise InputError(
        f"The pack {folder} holds no .onnx file, as when its download was stopped: delete the folder (and "
        f"{folder}.zip) and fetch it again."
    )


def _choose(recognizers: list[Path], wanted: str | os.PathLike[str] | None, folder: Path) -> Path:
    names = [file.name for file in recognizers]
    if wanted is None and not names:
        raise InputError(f"The pack {folder} has no recogniser: add one, such as arcface.onnx of FoivosPar/Arc2Face.")
    if wanted is None and len(names) > 1:
        raise InputError(
            f"The pack {folder} has several recognisers, {' and '.join(names)}, of different embedding spaces: say "
            "which with `recognizer`; for Arc2Face it is arcface.onnx."
        )
    if wanted is None or os.fspath(wanted) in names:
        return folder / (wanted or names[0])
    if Path(wanted).is_file():
        return Path(wanted)
    have = f"its recogniser is {' and '.join(names)}, of another embedding space" if names else "it has no recogniser"
    raise InputError(
        f"The pack {folder} has no {Path(wanted).name}: {have}. Put {Path(wanted).name} in its place; Arc2Face's is on "
        "the Hub, FoivosPar/Arc2Face."
    )
