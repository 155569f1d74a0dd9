"""What trained networks make of whole sets, kept in the cache by what it was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from idgen.ground import files
from idgen.ground.weights import read_shards
from idgen.training.data import Faces
from idgen.training.loop import digest, frozen, has_bf16, trained_weights


def embed(network: Any, faces: Faces, flip: bool = False) -> Tensor:
    """Unit embeddings (N, D) of aligned faces, by a network in eval mode; with `flip`, summed with the mirrored
    image's."""
    device, size = next(network.parameters()).device, network.config.image_size
    out = []
    for rows in np.split(np.arange(len(faces)), range(64, len(faces), 64)):
        pixels = faces.pixels(rows, device)
        pixels = interpolate(pixels, size=(size, size), mode="bilinear", antialias=True) * 2 - 1
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        embedding = network(pixels).float()
        if flip:
            embedding = embedding + network(pixels.flip(3)).float()
        out.append(normalize(embedding).cpu())
    return torch.cat(out)


def content_key(network: Path, faces: Faces) -> str:
    """A name, of the weights' and the images' bytes, for what a network in a folder makes of some faces."""
    content = faces.content or hashlib.sha256(faces.images.tobytes() + str(faces.images.shape).encode()).hexdigest()
    return f"{digest(network)}-{content[:16]}"


def digest_of_latents(autoencoder: Path) -> str:
    """Names an autoencoder's latents: by the content of its encoder, since a decoder may be finished later."""
    tensors = read_shards(trained_weights(autoencoder), "autoencoder", "another training")
    content = hashlib.sha256()
    for name in sorted(name for name in tensors if name.startswith("encoder.")):
        content.update(tensors[name].float().numpy().tobytes())
    return content.hexdigest()[:16]


def cached(file: Path, make: Callable[[], NDArray[Any]], device: str, bf16: bool) -> NDArray[Any]:
    """The array in a file of the cache, as a read-only memory map; `make` makes it first if it is not there, without
    gradients, on a device, in bfloat16 or not."""
    if not file.exists():
        files.check_cache(file)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            array = make()
        with files.aside(file) as beside, beside.open("wb") as opened:
            np.save(opened, array)
    return np.load(file, mmap_mode="r")


def cached_embeddings(recognizer: Path, faces: Faces, device: str | None = None) -> Tensor:
    """Unit embeddings (N, D) of all faces, summed with the mirrored images', by the recogniser in a folder; kept in the
    cache."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    def make() -> NDArray[np.float32]:
        network = frozen(recognizer, ModelMixin).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return embed(network, faces, flip=True).numpy()

    file = files.cache("embeddings", f"{content_key(recognizer, faces)}.npy")
    return torch.from_numpy(np.array(cached(file, make, device, has_bf16(device))))
