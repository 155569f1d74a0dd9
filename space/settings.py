"""What the operator of the app decides, from environment variables. No Gradio here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from idgen.ground.errors import InputError

INVERSION = (
    "A model that paints a person from a face vector also turns face vectors back into faces: whoever holds somebody's "
    "vector, from a face-recognition system for instance, could see roughly what they look like. Treat such a vector "
    "like a photo of its owner."
)
"""What the page says of face vectors (template inversion: Mai et al. 2018, https://arxiv.org/abs/1703.00832)."""

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_IN_PUBLIC = {"requests_per_minute": 20, "requests_per_minute_in_all": 120}
_IN_PUBLIC |= {"megabytes_per_ten_minutes": 500, "megabytes_per_ten_minutes_in_all": 2000}


def _whole(default: int, low: int, high: int) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class Settings:
    """What a visitor may do, and how long things stay. The defaults are those of an app on one's own machine.

    Args:
        models: `IDGEN_MODELS`, names, folders or Hub ids with commas between; the first is the one shown at first.
        public: `IDGEN_PUBLIC`, whether strangers can reach the app; by default on a Hugging Face Space (`SPACE_ID`).
        vector_uploads: `IDGEN_VECTOR_UPLOADS`, whether visitors may bring face vectors, in any file, as where one came
            from can be made up; by default not in public.
        images_per_request: `IDGEN_IMAGES_PER_REQUEST`, pictures that a visitor may ask for; it does not bind what
            always makes the same few: a strip, a point of the curve, the nearest people.
        photos_per_request: `IDGEN_PHOTOS_PER_REQUEST`, photos of one person whose mean is taken.
        requests_per_minute: `IDGEN_REQUESTS_PER_MINUTE` of one visitor; 0: no limit; 20 in public.
        requests_per_minute_in_all: `IDGEN_REQUESTS_PER_MINUTE_IN_ALL` of everybody; 0: no limit; 120 in public.
        megabytes_per_ten_minutes: `IDGEN_MEGABYTES_PER_TEN_MINUTES` of one visitor's uploads; 0: none; 500 in public.
        megabytes_per_ten_minutes_in_all: `IDGEN_MEGABYTES_PER_TEN_MINUTES_IN_ALL` of everybody; 0: no limit; 2,000 in
            public. What no request uses is deleted after that time, so it bounds what lies on the disk.
        queue_length: `IDGEN_QUEUE_LENGTH`, requests that may wait; the next one is refused.
        upload_megabytes: `IDGEN_UPLOAD_MEGABYTES`, of one file.
        upload_megapixels: `IDGEN_UPLOAD_MEGAPIXELS`, of one photo, read from its header before anything is decoded.
        keep_seconds: `IDGEN_KEEP_SECONDS`, how long generated pictures and a session's identity stay.
        proxies: `IDGEN_PROXIES`, how many reverse proxies stand in front; by default 1 on a Space, else 0. It decides
            which entry of X-Forwarded-For is the visitor's address: others are whatever the visitor wrote there.
    """

    models: tuple[str, ...] = ("nobody-128",)
    public: bool = False
    vector_uploads: bool = True
    images_per_request: int = _whole(16, 2, 64)
    photos_per_request: int = _whole(8, 1, 64)
    requests_per_minute: int = _whole(0, 0, 100_000)
    requests_per_minute_in_all: int = _whole(0, 0, 100_000)
    megabytes_per_ten_minutes: int = _whole(0, 0, 1_000_000)
    megabytes_per_ten_minutes_in_all: int = _whole(0, 0, 1_000_000)
    queue_length: int = _whole(64, 1, 10_000)
    upload_megabytes: int = _whole(20, 1, 1_000)
    upload_megapixels: int = _whole(50, 1, 50)
    keep_seconds: int = _whole(3600, 60, 86_400)
    proxies: int = _whole(0, 0, 10)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables that are set.

        Raises:
            InputError: one of them says nothing usable.
        """
        on_a_space = bool(environ.get("SPACE_ID"))
        public = _switch(environ, "IDGEN_PUBLIC", on_a_space)
        usual: dict[str, Any] = {"proxies": int(on_a_space), **(_IN_PUBLIC if public else {})}
        numbers: dict[str, Any] = {
            one.name: _number(environ, one.name, usual.get(one.name, one.default), *one.metadata["range"])
            for one in fields(cls)
            if one.metadata
        }
        return cls(_models(environ), public, _switch(environ, "IDGEN_VECTOR_UPLOADS", not public), **numbers)

    @property
    def upload_pixels(self) -> int:
        """`upload_megapixels` as pixels: a "50 megapixel" phone makes 8192 × 6144, so a mega is 2²⁰ here."""
        return self.upload_megapixels << 20


def _models(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get("IDGEN_MODELS", "").strip()
    models = tuple(name.strip() for name in text.split(",")) if text else Settings.models
    if not all(models) or len(set(models)) < len(models):
        how = "name different models with commas between them, such as nobody-128,user/repo"
        raise InputError(f"IDGEN_MODELS is {text!r}: {how}.")
    return models


def _number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    variable = f"IDGEN_{name.upper()}"
    text = environ.get(variable, "").strip() or str(default)
    # int() alone also takes signs, underscores and other scripts' digits.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    if not low <= number <= high:
        raise InputError(
            f"{variable} is {text[:40]!r}: set it to a whole number from {low:,} to {high:,}, or not at all."
        )
    return number


def _switch(environ: Mapping[str, str], variable: str, default: bool) -> bool:
    text = environ.get(variable, "").strip().lower()
    if text and text not in _YES + _NO:
        raise InputError(f"{variable} is {text[:40]!r}: set it to 1 or 0, or not at all.")
    return text in _YES if text else default
