"""A pipeline to whose denoiser something may be added: the LCM-LoRA, the expression adapter, the reference adapter."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from diffusers import LCMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from idgen.ground.files import write
from idgen.pipelines.arc2face import files
from idgen.pipelines.arc2face import text_encoder as texts
from idgen.pipelines.arc2face.adapters import fuse_lora, read_adapter, with_adapter
from idgen.pipelines.arc2face.files import SAVED_ADAPTER, SAVED_REFERENCE
from idgen.pipelines.arc2face.reference import Reference
from idgen.pipelines.base import IdentityPipeline

Self = TypeVar("Self", bound="AdaptedPipeline")


class AdaptedPipeline(IdentityPipeline):
    """What `Arc2FacePipeline` can be given beside its components; each way returns another pipeline."""

    _expressive: UNet2DConditionModel | None = None
    _adapter: Mapping[str, Tensor] = {}
    _reference: Reference | None = None

    def few_step(self: Self, lora: str | os.PathLike[str] = files.LCM_LORA, **hub: Any) -> Self:
        """This model with the LCM-LoRA in its denoiser: 2 to 4 steps without guidance. This one stays as it is, and the
        rest is shared. Needs the package peft.

        Args:
            lora: a safetensors file, a folder that holds `pytorch_lora_weights.safetensors`, or a hub repository.
            hub: revision, token and the like.

        Raises:
            InputError: the LoRA cannot be read or does not fit the denoiser.
        """
        denoiser = copy.deepcopy(self.denoiser)
        fuse_lora(denoiser, files.lora_file(lora, hub))
        other = copy.copy(self)
        other.register_modules(denoiser=denoiser, scheduler=LCMScheduler.from_config(self.scheduler.config))
        other.register_to_config(num_inference_steps=3, guidance_scale=1.0)
        if self._adapter:
            other._attach(self._adapter, self.config.expression_scale)
        return other

    def with_expression(self: Self, adapter: str | os.PathLike[str] | Mapping[str, Tensor], scale: float = 1.0) -> Self:
        """This model with an expression adapter; this one stays as it is, and all weights are shared.

        Args:
            adapter: `exp_adapter.bin` (read without executing anything), a safetensors file of the same content, or
                that content.
            scale: weight of the expression's attention.

        Raises:
            InputError: the file cannot be read, takes no 55 values, or does not fit the denoiser.
        """
        other = copy.copy(self)
        other._attach(dict(adapter) if isinstance(adapter, Mapping) else read_adapter(adapter), scale)
        return other

    def with_reference(self: Self, adapter: str | os.PathLike[str] | Reference) -> Self:
        """This model with a reference adapter; this one stays as it is, and all weights are shared. Needs the package
        peft.

        Args:
            adapter: `pytorch_lora_weights.safetensors`.

        Raises:
            InputError: the file cannot be read or does not fit the denoiser.
        """
        other = copy.copy(self)
        other._reference = adapter if isinstance(adapter, Reference) else Reference(adapter, self.denoiser)
        return other

    @classmethod
    def from_pipe(cls: type[Self], pipeline: Any, **changed: Any) -> Self:
        """As `IdentityPipeline.from_pipe`, adapters included."""
        other = super().from_pipe(pipeline, **changed)
        if adapter := getattr(pipeline, "_adapter", None):
            other._attach(adapter, other.config.expression_scale)
        other._reference = getattr(pipeline, "_reference", None)
        return other

    def _attach(self, adapter: Mapping[str, Tensor], scale: float) -> None:
        self._expressive, self._adapter = with_adapter(self.denoiser, adapter, scale), adapter
        self.register_to_config(expression_scale=scale)

    def _attach_saved(self, folder: Path) -> None:
        """Add what `save_pretrained` wrote beside the components."""
        if (folder / SAVED_ADAPTER).is_file():
            self._attach(read_adapter(folder / SAVED_ADAPTER), self.config.expression_scale)
        if (folder / SAVED_REFERENCE).is_file():
            self._reference = Reference(folder / SAVED_REFERENCE, self.denoiser)
        self.to(self.denoiser.device)

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:
        """As `DiffusionPipeline.to`."""
        super().to(*args, **kwargs)
        for part in (self._expressive, self._reference):
            if part is not None:
                nn.Module.to(part, self.denoiser.device, self.denoiser.dtype)
        return self

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """As `DiffusionPipeline.save_pretrained`: one folder that `from_pretrained` reads, adapters included."""
        with texts.without_bars():
            super().save_pretrained(save_directory, **kwargs)
        if self._adapter:
            file = Path(save_directory) / SAVED_ADAPTER
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in self._adapter.items()}, file, {"format": "pt"})
        if self._reference is not None:
            write(Path(save_directory) / SAVED_REFERENCE, self._reference.content)
