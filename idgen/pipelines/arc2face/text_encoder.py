"""Identities to prompt embeddings by the CLIP text encoder that Arc2Face fine-tuned."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from idgen.ground.devices import pinned
from idgen.ground.errors import InputError, require_package
from idgen.ground.identity import Identities
from idgen.ground.weights import check_fit, read_shards, variant_in, weight_files
from idgen.pipelines.arc2face.files import ORIGIN
from idgen.pipelines.shells import replaced

if TYPE_CHECKING:
    from transformers import CLIPTextModel

# "photo of a id person", padded to 77 tokens with the end token, and "", in CLIP's vocabulary: the only two prompts
# that the fine-tuned encoder knows, so no tokenizer is needed. "id" gives way to the identity.
LENGTH, START, END, ID_POSITION = 77, 49406, 49407, 4
PROMPT = (START, 1125, 539, 320, 1014, 2533)
NOBODY = (START,)

_POSITIONS = "embeddings.position_ids"


class EncodedIdentities(Identities):
    """Identities with their prompt embeddings, by `Arc2FacePipeline.encode`: no text encoder is needed any more.

    Args:
        identities: who.
        prompts: (N, 77, W) one an identity.
        nobody: (1, 77, W) the embedding of the empty prompt.
    """

    def __init__(self, identities: Identities, prompts: Tensor, nobody: Tensor):
        super().__init__(identities.vectors, identities.space, identities.sources, identities.names, identities.also)
        self.prompts, self.nobody = prompts, nobody


class _Token(nn.Module):
    """A table of token embeddings that gives another vector at one position. (N, L) ids to (N, L, W)."""

    def __init__(self, table: nn.Module, position: int, vectors: Tensor):
        super().__init__()
        self.table, self.position, self.vectors = table, position, vectors

    def forward(self, ids: Tensor) -> Tensor:
        out = self.table(ids).clone()
        out[:, self.position] = self.vectors
        return out


def encode_prompt(encoder: CLIPTextModel, prompt: Sequence[int], vectors: Tensor | None = None) -> Tensor:
    """A fixed prompt's last hidden states, with vectors in place of the embedding of its fifth token.

    Before the position embedding is added, and under the causal mask only, as in Arc2Face. The encoder is not changed,
    not even for the time of the call: others may be using it.

    Args:
        encoder: CLIP's text model, of any generation of transformers.
        prompt: token ids, padded to 77 here.
        vectors: (N, W), or None for the prompt as it is.

    Returns:
        (N, 77, W), or (1, 77, W).
    """
    ids = torch.tensor([*prompt, *[END] * (LENGTH - len(prompt))], device=encoder.device)
    if vectors is None:
        return encoder(ids[None])[0]
    table = encoder.get_input_embeddings()
    path = next(name for name, module in encoder.named_modules() if module is table)
    patched = replaced(encoder, {path: _Token(table, ID_POSITION, vectors)})
    return patched(ids.expand(len(vectors), -1))[0]


@pinned()
def load_text_encoder(folder: Path, dtype: torch.dtype | None = None, variant: str | None = None) -> CLIPTextModel:
    """CLIP's text model from config.json and model.safetensors, of a variant and in shards, too, or, without executing
    anything, pytorch_model.bin.

    Not by transformers' own loader, because that only prints a table where weights are missing, and because names begin
    with `text_model.` in one of its generations and not in the other.

    Raises:
        InputError: a file is missing or damaged, would execute code, or its weights are not exactly the model's.
    """
    transformers = require_package("transformers", "arc2face", "Arc2Face")
    paths = [folder / "pytorch_model.bin"]
    if any(folder.glob("model*.safetensors*")):
        paths = weight_files(folder, variant or variant_in(folder), "model")
    try:
        encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig.from_pretrained(folder))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"There is no readable configuration of CLIP's text model in {folder}: get encoder/config.json from "
            f"{ORIGIN} ({' '.join(str(error).split())[:200]})."
        ) from error
    weights = {_bare(name): tensor for name, tensor in read_shards(paths, "text encoder", ORIGIN).items()}
    positions = weights.pop(_POSITIONS, None)  # a buffer that older generations saved
    if positions is not None and not torch.equal(positions.flatten(), torch.arange(positions.numel())):
        raise InputError(f"The positions in {paths[0]} are not counted from 0: this is no text encoder of CLIP.")
    own = {name: tensor for name, tensor in encoder.state_dict().items() if _bare(name) != _POSITIONS}
    check_fit({_bare(name): tensor for name, tensor in own.items()}, weights, paths[0], "text encoder of Arc2Face")
    encoder.load_state_dict({name: weights[_bare(name)] for name in own}, strict=False)
    return encoder.to(dtype or torch.float32).eval()


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Without the bar that transformers shows while it writes a file."""
    if "transformers" not in sys.modules:  # then there is no text encoder either
        yield
        return
    from transformers.utils import logging

    def switch(to: Callable[[], None]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an environment variable has decided already
            to()

    showing = logging.is_progress_bar_enabled()
    switch(logging.disable_progress_bar)
    try:
        yield
    finally:
        if showing:
            switch(logging.enable_progress_bar)


def _bare(name: str) -> str:
    return name.removeprefix("text_model.")
