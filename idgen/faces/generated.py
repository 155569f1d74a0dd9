"""Faces in pictures that a model made, shown to each recogniser as it was trained to see them.

A pipeline says whether its pictures are face crops as its encoder aligns them (`IdentityPipeline.aligned`). Where they
are not, or where a judge was made for another alignment than the encoder, the encoder finds the face first.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from idgen.errors import NoFaceError
from idgen.faces.encoder import FaceEncoder, to_pictures
from idgen.faces.images import ImageSource, open_image


def views(photo: ImageSource, encoder: FaceEncoder, viewers: Sequence[FaceEncoder]) -> tuple[Any, ...]:
    """The largest face of a photo, found by `encoder` and cut out for each of the viewers.

    Raises:
        InputError: as `FaceEncoder.detect_and_align`, which also warns.
    """
    crop, face, _ = encoder.detect_and_align(photo)
    return tuple(
        crop if viewer.alignment == encoder.alignment else viewer.crop(open_image(photo), face) for viewer in viewers
    )


def crops(
    pictures: Tensor | Sequence[ImageSource],
    encoder: FaceEncoder,
    viewers: Sequence[FaceEncoder],
    aligned: bool = True,
) -> list[tuple[Any, ...] | None]:
    """What each of the viewers is to see of each picture; None for one that has to be searched and shows no face.

    Args:
        pictures: (N, 3, H, W) in [0, 1], or N pictures.
        encoder: finds faces.
        viewers: recognisers.
        aligned: the pictures are face crops as `encoder` aligns them.
    """
    if aligned and all(viewer.alignment == encoder.alignment for viewer in viewers):
        return [(picture,) * len(viewers) for picture in pictures]
    out: list[tuple[Any, ...] | None] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # several faces: the largest is meant
        for picture in to_pictures(pictures) if isinstance(pictures, Tensor) else pictures:
            try:
                out.append(views(picture, encoder, viewers))
            except NoFaceError:
                out.append(None)
    return out


def embed(
    pictures: Tensor | Sequence[ImageSource],
    encoder: FaceEncoder,
    viewers: Sequence[FaceEncoder],
    aligned: bool = True,
) -> list[Tensor]:
    """The unit vectors (N, D) of pictures by each of the viewers; rows of NaN where no face is found.

    Arguments as those of `crops`.
    """
    if aligned and all(viewer.alignment == encoder.alignment for viewer in viewers):
        return [viewer.encode(pictures) for viewer in viewers]
    seen = crops(pictures, encoder, viewers, aligned)
    shown = [row for row, each in enumerate(seen) if each is not None]
    out = []
    for place, viewer in enumerate(viewers):
        vectors = torch.full((len(seen), viewer.dim), torch.nan)
        if shown:
            vectors[shown] = viewer.encode([each[place] for each in seen if each is not None])
        out.append(vectors)
    return out
