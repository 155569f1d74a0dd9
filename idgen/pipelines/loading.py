"""How pipelines come from folders, from the Hub and from one another: strictly, and by safetensors only."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from idgen.ground import hub, uploading
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.files import read_json, write_json
from idgen.ground.weights import first_sentence, load_network, variant_in

Self = TypeVar("Self", bound="LoadedPipeline")


class LoadedPipeline(DiffusionPipeline):  # type: ignore[misc]
    """A pipeline whose weights are those of its files, all of them and no others."""

    extra_files: ClassVar[tuple[str, ...]] = ()
    """What its folder may hold beside the parts that model_index.json names."""

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Upload it with a card, and with code for people without idgen; returns what others load it by.

        Without encoder, judge and sampler, which a pipeline does not know: `Model.push` uploads the whole. Options,
        such as `licence`, and errors are those of `idgen.push`.
        """
        return uploading.push(self, repo_id, **options)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """As `DiffusionPipeline.save_pretrained`, but the schedule's file holds only what its scheduler was told.

        Schedulers of different classes fill up what they were not told differently, each as it has to be: made of a
        file that holds one's defaults, another would take them for what the model asks for.
        """
        super().save_pretrained(save_directory, **kwargs)
        config = self.components["scheduler"].config
        file = Path(save_directory) / "scheduler" / "scheduler_config.json"
        silent = config.get("_use_default_values", ())
        write_json(file, {name: value for name, value in read_json(file).items() if name not in silent})

    @classmethod
    @pinned()
    def from_pretrained(cls: type[Self], pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Self:
        """As `DiffusionPipeline.from_pretrained`, but only from safetensors, and InputError for a weight that is
        missing, left over or of another shape."""
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            folder = Path(cls.download(str(pretrained_model_name_or_path), **kwargs))
        dtype, variant = kwargs.get("dtype", kwargs.get("torch_dtype")), kwargs.get("variant")
        for name, value in cls.load_config(folder).items():
            if name not in kwargs and isinstance(value, (list, tuple)) and value[0] is not None:
                own = dtype.get(name, dtype.get("default")) if isinstance(dtype, dict) else dtype
                if variant is None and (found := variant_in(folder / name)) is not None:
                    kwargs["variant"] = found
                if (network := cls._load_network(value[0], value[1], folder / name, own, variant)) is not None:
                    kwargs[name] = network
        try:
            return cast(Self, super().from_pretrained(folder, **{"use_safetensors": True, **kwargs}))
        except OSError as error:
            why = first_sentence(error)
            raise InputError(f"The pipeline in {folder} is incomplete ({why}): fetch it again.") from error

    @classmethod
    def from_pipe(cls: type[Self], pipeline: DiffusionPipeline, **changed: Any) -> Self:
        """A pipeline of this class over another one's parts and configuration, but for what is `changed`, by the names
        of the class's own arguments. The parts are shared, and none is changed: neither is their precision.

        Raises:
            InputError: a part is missing, does not fit, or there is no such argument.
        """
        wanted = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        if unknown := sorted(changed.keys() - set(wanted)):
            raise InputError(f"{cls.__name__} is made of {', '.join(wanted)}, and has no {unknown[0]!r}: leave it out.")
        have = {**pipeline.config, **pipeline.components, **changed}
        if missing := {"denoiser", "autoencoder", "scheduler"} - have.keys():
            raise InputError(
                f"A {cls.__name__} needs a {min(missing)}, which {type(pipeline).__name__} has not: give it."
            )
        return cls(**{name: have[name] for name in wanted if name in have})

    @classmethod
    def _load_network(
        cls, library: str, name: str, folder: Path, dtype: torch.dtype | None, variant: str | None
    ) -> Any:
        """A component that is a network, strictly; None where it is none and diffusers may load it."""
        kind = getattr(importlib.import_module(library), name, None) if library in ("idgen", "diffusers") else None
        if not (isinstance(kind, type) and issubclass(kind, ModelMixin)):
            return None
        return load_network(kind, folder, dtype, variant)

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        """Fetch a pipeline's configurations and safetensors, nothing else, and return the folder.

        Raises:
            InputError: there is no such pipeline, or the hub cannot be reached.
        """
        options = hub.options_in(kwargs)
        index = hub.resolve(pretrained_model_name, patterns=[cls.config_name], **options) / cls.config_name
        if not index.is_file():
            raise InputError(f"{pretrained_model_name} holds no pipeline: it has no {cls.config_name}.")
        parts = [name for name, value in cls._dict_from_json_file(index).items() if isinstance(value, list)]
        patterns = [f"{part}/*.{ending}" for part in parts for ending in ("json", "safetensors")]
        patterns += [cls.config_name, *cls.extra_files]
        return str(hub.resolve(pretrained_model_name, patterns=patterns, **options))
