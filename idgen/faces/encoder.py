"""Faces to vectors: a recogniser with what it takes to use it on whole photos.

`FaceEncoder` is one whose networks are of `idgen.models`, and what all kinds of recognisers have in common.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import CONFIG_NAME
from PIL import Image
from torch import Tensor

from idgen import models
from idgen.faces.align import ALIGNMENTS
from idgen.faces.finder import Detection, FaceFinder
from idgen.faces.pixels import check_pixels, to_pictures, to_side
from idgen.faces.rating import Rating, a_weight
from idgen.faces.strangers import measured_on, seen_by, strangers
from idgen.ground import arguments, hub, uploading
from idgen.ground import domain as domains
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError, NoFaceError
from idgen.ground.files import read_json, write_json
from idgen.ground.identity import Identity, mean, safe_name, seen_in
from idgen.ground.images import ImageSource, describe, open_image, several
from idgen.ground.provenance import domain_of
from idgen.models.finder import FaceFinderNet

CALIBRATION_NAME, QUALITY = "calibration.json", "quality"


class FaceEncoder(Rating):
    """Embeds faces, on aligned crops or on photos.

    Another kind of recogniser derives from it (see `idgen.faces`) and brings `dim`, `image_size`, `to`, `from_folder`,
    `_save_parts`, `_resize` and `_embed`, and `crop` where it cuts faces out in its own way.

    Attributes:
        notice: what its user should be told: what it runs on, under which licence; "" for nothing.

    Args:
        recognizer: (N, 3, 112, 112) RGB in [-1, 1] to (N, D); a class of `idgen.models`. Switched to evaluation.
        finder: finds faces in photos; None if only aligned crops will come.
        space: name of the embedding space that the recogniser's weights make.
        flip: add the embedding of the mirrored crop before normalising.
        alignment: how the recogniser's faces are cut out, a name in `ALIGNMENTS`.
        calibration: what the encoder's scores mean, the content of calibration.json (see
            `idgen.scoring.Calibration`), or None where it was not measured.
    """

    notice = ""
    photo_finder: Any = None
    """Another finder, for photographs: looked with instead of `finder` where it is set."""

    def __init__(
        self,
        recognizer: ModelMixin,
        finder: FaceFinder | None = None,
        *,
        space: str,
        flip: bool = True,
        alignment: str = "arcface",
        calibration: dict[str, Any] | None = None,
    ):
        if alignment not in ALIGNMENTS:
            raise InputError(f"There is no alignment {alignment!r}, only {' and '.join(ALIGNMENTS)}: update idgen?")
        self.recognizer = recognizer.eval()
        self.finder = finder
        self.space, self.flip, self.alignment, self.calibration = space, flip, alignment, calibration

    @property
    def dim(self) -> int:
        """Length D of the vectors."""
        return int(self.recognizer.config.embedding_dim)

    @property
    def image_size(self) -> int:
        """Side of what the recogniser sees, in pixels."""
        return int(self.recognizer.config.image_size)

    def to(self, device: torch.device | str) -> FaceEncoder:
        """Move the networks."""
        torch.nn.Module.to(self.recognizer, device)  # `ModelMixin.to` imports peft and transformers first: seconds
        if self.finder is not None:
            torch.nn.Module.to(self.finder.net, device)
        return self

    @classmethod
    @pinned()
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, revision: str | None = None, subfolder: str | None = None
    ) -> FaceEncoder:
        """Load what `save_pretrained` of any kind of encoder wrote, from a folder or a repository on the Hugging Face
        Hub, or a subfolder of it. InputError if there is no such encoder, it is of an unknown kind, its recogniser is
        no class of `idgen.models`, or a weight is missing or left over."""
        folder = hub.resolve(name, revision) / (subfolder or "")
        config = read_json(folder / CONFIG_NAME)
        asked = config.get("_class_name", FaceEncoder.__name__)
        kinds: list[type[FaceEncoder]] = [FaceEncoder, *FaceEncoder.__subclasses__()]
        kind = next((kind for kind in kinds if kind.__name__ == asked and issubclass(kind, cls)), None)
        if kind is None:
            where = folder / CONFIG_NAME
            raise InputError(f"{where} asks for {asked!r}, which is no {cls.__name__} here: update idgen?")
        calibration = folder / CALIBRATION_NAME
        encoder = kind.from_folder(folder, config, read_json(calibration) if calibration.exists() else None)
        if (folder / QUALITY).is_dir():
            encoder.quality_net = models.load(folder / QUALITY, models.QualityNet).eval()
        return encoder

    @classmethod
    def from_folder(cls, folder: Path, config: dict[str, Any], calibration: dict[str, Any] | None) -> FaceEncoder:
        """An encoder of this kind, of what its folder's config.json and calibration.json say."""
        if not isinstance(config.get("space"), str):
            raise InputError(f"{folder / CONFIG_NAME} does not name an embedding space: is this an encoder's folder?")
        finder = folder / "finder"
        return cls(
            models.load(folder / "recognizer", ModelMixin),
            FaceFinder(models.load(finder, FaceFinderNet)) if finder.is_dir() else None,
            space=config["space"],
            flip=bool(config.get("flip", True)),
            alignment=str(config.get("alignment", "arcface")),
            calibration=calibration,
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json, the networks, and calibration.json where there is one; returns the folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / CONFIG_NAME, self._save_parts(folder))
        if self.calibration is not None:
            write_json(folder / CALIBRATION_NAME, self.calibration)
        if self.quality_net is not None:
            self.quality_net.save_pretrained(folder / QUALITY)
        return folder

    def _save_parts(self, folder: Path) -> dict[str, Any]:
        """Write the networks; returns what config.json is to say."""
        self.recognizer.save_pretrained(folder / "recognizer")
        if self.finder is not None:
            self.finder.net.save_pretrained(folder / "finder")
        return {"space": self.space, "flip": self.flip, "alignment": self.alignment}

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Upload it for `from_pretrained(repo_id)`; options and errors as those of `idgen.push`."""
        return uploading.push(self, repo_id, **options)

    @torch.no_grad()
    @pinned()
    def encode(
        self, images: Tensor | ImageSource | Sequence[ImageSource], aligned: bool = True, batch_size: int = 64
    ) -> Tensor:
        """Embed faces.

        Args:
            images: (N, 3, H, H) float RGB in [0, 1], a list of pictures, or one.
            aligned: they are square crops as `alignment` makes them, of any size; else faces are found and cut out.
            batch_size: faces that go through the network at once.

        Returns:
            (N, D) float32 unit vectors, on the CPU.

        Raises:
            InputError: a picture cannot be opened, has no face, or is not square where it should be, or a tensor has
                another shape or range.
        """
        return F.normalize(self._raw(images, aligned, batch_size), dim=1)

    @torch.no_grad()
    @pinned()
    def embed_raw(self, images: Tensor | Sequence[ImageSource]) -> Tensor:
        """Aligned faces to (N, D), as they come from the recogniser, not normalised."""
        return self._raw(images)

    def _raw(
        self,
        images: Tensor | ImageSource | Sequence[ImageSource],
        aligned: bool = True,
        batch_size: int = 64,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """(N, D) on the CPU, not normalised."""
        faces = several(images)
        if not aligned:
            faces = [self.detect_and_align(picture)[0] for picture in to_pictures(faces)]
        if isinstance(faces, Tensor):
            check_pixels(faces)
        out = []
        for part in (faces[at : at + batch_size] for at in range(0, len(faces), batch_size)):
            pixels = self._resize(part) if isinstance(part, Tensor) else torch.cat([self._read(one) for one in part])
            out.append((embed or self._embed)(pixels))
        return torch.cat(out) if out else torch.empty(0, self.dim, dtype=torch.float32)

    def detect_and_align(
        self, image: ImageSource, domain: str | None = None, which: int | None = None
    ) -> tuple[Image.Image, Detection, list[Detection]]:
        """Cut out a face of a photo: the largest, unless another is asked for; warns when there are several.

        Args:
            image: the photo.
            domain: what kind of picture it is; by default what its file says (`idgen.ground.provenance.domain_of`).
            which: the number of the face, from 1 for the largest.

        Returns:
            Its crop as the encoder's `alignment` makes it; where it is; all faces that were found, largest first.

        Raises:
            InputError: the photo cannot be opened or has no face, or not so many, or this encoder has no finder.
        """
        picture, face, found = self.locate(image, domain, which)
        return self.crop(picture, face), face, found

    def locate(
        self, image: ImageSource, domain: str | None = None, which: int | None = None
    ) -> tuple[Image.Image, Detection, list[Detection]]:
        """The photo as it was opened, where its face is, and all faces; as `detect_and_align`."""
        name, finder, picture = describe(image), self._finder(), open_image(image)
        if self.photo_finder is not None and (domain_of(image) if domain is None else domain) == domains.PHOTOGRAPHS:
            finder = self.photo_finder
        with pinned():
            found = finder.find(picture)
        if not found:
            raise NoFaceError(f"No face found in {name}: give a photo with one clearly visible face.")
        if which is not None and arguments.whole("number of the face", which, 1) > len(found):
            raise NoFaceError(f"There is no face {which} in {name}: {len(found)} found, the largest is number 1.")
        if len(found) > 1 and which is None:
            x, y = (found[0].centre / picture.size * 100).round().astype(int)
            where = f"{x} % from the left and {y} % from the top"
            warnings.warn(f"{len(found)} faces found in {name}: the largest is taken, at {where}.", stacklevel=2)
        return picture, found[0 if which is None else which - 1], found

    @pinned()
    def shows_face(self, crop: ImageSource) -> bool:
        """Whether an aligned crop shows a face, as `alignment` makes them. InputError if the picture cannot be opened,
        or this encoder has no finder."""
        finder, picture = self._finder(), open_image(crop)
        if self.alignment == "arcface" and isinstance(finder, FaceFinder):
            return finder.sees(picture)
        return bool(finder.find(picture))

    def _finder(self) -> FaceFinder:
        if self.finder is None:
            raise InputError(f"The encoder of {self.space!r} cannot find faces: give it a finder, or aligned ones.")
        return self.finder

    def identify(
        self,
        photos: ImageSource | Sequence[ImageSource],
        aligned: bool = False,
        name: str | None = None,
        domain: str | None = None,
        face: int | None = None,
        viewers: Sequence[FaceEncoder] = (),
    ) -> Identity:
        """The identity on one or several photos of one person: the normalised mean of their vectors. Warns when they
        do not look like one person, see `strangers`.

        Args:
            photos: one picture, or several of one person.
            aligned: they are such crops already.
            name: what to call it; by default after the first photo's file.
            domain: what kind of pictures they are (`idgen.ground.domain`); by default what each one's file says.
            face: which face of each photo, from 1 for the largest; by default that.
            viewers: further recognisers, whose own vectors of the same faces go along: of crops, those that see faces
                cut out alike.

        Raises:
            InputError: there are no photos, or as `encode` and `detect_and_align`.
        """
        given = several(photos)
        if not len(given):
            raise InputError("There are no photos: give at least one.")
        if name is None:
            file = describe(given[0])
            name = "me" if file == describe(None) else safe_name(Path(file).stem)
        kinds = [domain_of(photo) if domain is None else domains.check(domain) for photo in given]
        called = [str(one) if isinstance(one, str | os.PathLike) else f"photo {at}" for at, one in enumerate(given, 1)]
        viewers = [self, *(one for one in viewers if one.alignment == self.alignment or not aligned)]
        seen: list[tuple[Any, ...]] = [(photo,) * len(viewers) for photo in given]
        if not aligned:
            seen = [self.views(photo, viewers, of, face) for photo, of in zip(given, kinds, strict=True)]
        person, doubt = self.of_views(seen, viewers, kinds, name, called)
        if doubt:
            warnings.warn(doubt, stacklevel=2)
        return person

    def of_views(
        self,
        seen: Sequence[Any],
        viewers: Sequence[FaceEncoder],
        kinds: Sequence[str],
        name: str,
        called: Sequence[str],
    ) -> tuple[Identity, str]:
        """Who is on N faces, and why they may not be one person's, see `strangers`.

        Args:
            seen: what each of the viewers is to see of each face, see `views`.
            viewers: this encoder, and others.
            kinds: what kind of picture each is of.
            name: what to call the person.
            called: what to call each of the pictures.
        """
        by = [viewer.encode([each[place] for each in seen]) for place, viewer in enumerate(viewers)]
        single = []
        for row, of in enumerate(kinds):
            others = {viewer.space: one[row] for viewer, one in zip(viewers[1:], by[1:], strict=True)}
            single.append(Identity(by[0][row], self.space, seen_in([of], 1), name, others))
        who = viewers[best := seen_by([viewer.calibration for viewer in viewers], kinds)]
        return mean(single), strangers(by[best], called, who.space, measured_on(who.calibration, kinds))

    def views(
        self,
        photo: ImageSource,
        viewers: Sequence[FaceEncoder],
        domain: str | None = None,
        which: int | None = None,
    ) -> tuple[Any, ...]:
        """A face of a photo, found by this encoder and cut out for each of the viewers. Arguments, errors and warnings
        as of `detect_and_align`."""
        picture, face, _ = self.locate(photo, domain, which)
        crop = self.crop(picture, face)
        return tuple(crop if viewer.alignment == self.alignment else viewer.crop(picture, face) for viewer in viewers)

    def crops(
        self, pictures: Tensor | Sequence[ImageSource], viewers: Sequence[FaceEncoder], aligned: bool = True
    ) -> list[tuple[Any, ...] | None]:
        """What each of the viewers is to see of each picture; None for one that has to be searched and shows no face.

        The pictures, (N, 3, H, W) in [0, 1] or N of them, are face crops as this encoder aligns them, if `aligned`.
        """
        if aligned and all(viewer.alignment == self.alignment for viewer in viewers):
            return [(picture,) * len(viewers) for picture in pictures]
        out: list[tuple[Any, ...] | None] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # several faces: the largest is meant
            for picture in to_pictures(pictures):
                try:
                    out.append(self.views(picture, viewers))
                except NoFaceError:
                    out.append(None)
        return out

    @pinned()
    def embed_by(
        self, pictures: Tensor | Sequence[ImageSource], viewers: Sequence[FaceEncoder], aligned: bool = True
    ) -> list[Tensor]:
        """The unit vectors (N, D) of pictures by each of the viewers; rows of NaN where no face is found.

        Arguments as those of `crops`.
        """
        if aligned and all(viewer.alignment == self.alignment for viewer in viewers):
            return [viewer.encode(pictures) for viewer in viewers]
        seen = self.crops(pictures, viewers, aligned)
        shown = [row for row, each in enumerate(seen) if each is not None]
        out = []
        for place, viewer in enumerate(viewers):
            vectors = torch.full((len(seen), viewer.dim), torch.nan, dtype=torch.float32)
            if shown:
                vectors[shown] = viewer.encode([each[place] for each in seen if each is not None])
            out.append(vectors)
        return out

    def crop(self, picture: Image.Image, face: Detection) -> Image.Image:
        """Cut a face out of an RGB picture as this encoder's `alignment` asks."""
        alignment = ALIGNMENTS[self.alignment]
        return alignment.cut(picture, face.landmarks, alignment.size)

    def _read(self, image: ImageSource) -> Tensor:
        picture = open_image(image)
        if picture.width != picture.height:
            raise InputError(
                f"{describe(image)} is {picture.width} × {picture.height} pixels, but an aligned face is square: "
                "pass aligned=False for a photo."
            )
        return self._resize(torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)[None])

    def _resize(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, H) in [0, 1] to the side of what the recogniser sees, where it is."""
        alignment = ALIGNMENTS[self.alignment]
        pixels = pixels.to(a_weight(self.recognizer).device, torch.float32)
        if not alignment.antialias:  # only from the crop's own size: anything larger was made smaller with care
            pixels = to_side(pixels, alignment.size, True)
        return to_side(pixels, self.image_size, alignment.antialias)

    def _embed(self, pixels: Tensor) -> Tensor:
        """What `_resize` gives to (N, D), on the CPU."""
        x = (pixels * 2 - 1).to(a_weight(self.recognizer).dtype, memory_format=torch.channels_last)
        vectors = self.recognizer(x).float()
        if self.flip:
            vectors = vectors + self.recognizer(x.flip(3)).float()
        return vectors.cpu()
