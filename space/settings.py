"""What the operator of the app decides, from environment variables. No Gradio here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from idgen.errors import InputError

INVERSION = (
    "A model that paints a person from a face vector also turns face vectors back into faces: whoever holds somebody's "
    "vector, from a face-recognition system for instance, could see roughly what they look like. Treat such a vector "
    "like a photo of its owner."
)
"""What the page says of face vectors (template inversion: Mai et al. 2018, https://arxiv.org/abs/1703.00832)."""

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """What a visitor may do, and how long things stay. The defaults are those of an app on one's own machine.

    Args:
        models: `IDGEN_MODELS`, names, folders or Hub ids with commas between; the first is the one shown at first.
        public: `IDGEN_PUBLIC`, whether strangers can reach the app; by default on a Hugging Face Space (`SPACE_ID`).
        vector_uploads: `IDGEN_VECTOR_UPLOADS`, whether visitors may bring face vectors; by default not in public. It
            covers every kind of file: where a vector came from is written beside it and can be made up.
        images_per_request: `IDGEN_IMAGES_PER_REQUEST`, pictures that a visitor may ask for; it does not bind what
            always makes the same few: a strip, a point of the curve, the nearest people.
        photos_per_request: `IDGEN_PHOTOS_PER_REQUEST`, photos of one person whose mean is taken.
        requests_per_minute: `IDGEN_REQUESTS_PER_MINUTE` of one visitor; 0: no limit; 20 in public.
        requests_per_minute_in_all: `IDGEN_REQUESTS_PER_MINUTE_IN_ALL` of everybody; 0: no limit; 120 in public.
        megabytes_per_ten_minutes: `IDGEN_MEGABYTES_PER_TEN_MINUTES` of one visitor's uploads; 0: no limit; 500 in
            public.
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
    images_per_request: int = 16
    photos_per_request: int = 8
    requests_per_minute: int = 0
    requests_per_minute_in_all: int = 0
    megabytes_per_ten_minutes: int = 0
    megabytes_per_ten_minutes_in_all: int = 0
    queue_length: int = 64
    upload_megabytes: int = 20
    upload_megapixels: int = 50
    keep_seconds: int = 3600
    proxies: int = 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables that are set.

        Raises:
            InputError: one of them says nothing usable.
        """

        def whole(name: str, default: int, low: int, high: int) -> int:
            return _whole(environ, f"IDGEN_{name}", default, low, high)

        on_a_space = bool(environ.get("SPACE_ID"))
        public = _switch(environ, "IDGEN_PUBLIC", on_a_space)
        return cls(
            models=_models(environ),
            public=public,
            vector_uploads=_switch(environ, "IDGEN_VECTOR_UPLOADS", not public),
            images_per_request=whole("IMAGES_PER_REQUEST", cls.images_per_request, 2, 64),
            photos_per_request=whole("PHOTOS_PER_REQUEST", cls.photos_per_request, 1, 64),
            requests_per_minute=whole("REQUESTS_PER_MINUTE", 20 if public else 0, 0, 100_000),
            requests_per_minute_in_all=whole("REQUESTS_PER_MINUTE_IN_ALL", 120 if public else 0, 0, 100_000),
            megabytes_per_ten_minutes=whole("MEGABYTES_PER_TEN_MINUTES", 500 if public else 0, 0, 1_000_000),
            megabytes_per_ten_minutes_in_all=whole(
                "MEGABYTES_PER_TEN_MINUTES_IN_ALL", 2000 if public else 0, 0, 1_000_000
            ),
            queue_length=whole("QUEUE_LENGTH", cls.queue_length, 1, 10_000),
            upload_megabytes=whole("UPLOAD_MEGABYTES", cls.upload_megabytes, 1, 1_000),
            upload_megapixels=whole("UPLOAD_MEGAPIXELS", cls.upload_megapixels, 1, 50),
            keep_seconds=whole("KEEP_SECONDS", cls.keep_seconds, 60, 86_400),
            proxies=whole("PROXIES", int(on_a_space), 0, 10),
        )

    @property
    def upload_pixels(self) -> int:
        """`upload_megapixels` as pixels: a "50 megapixel" phone makes 8192 × 6144, so a mega is 2²⁰ here."""
        return self.upload_megapixels << 20


def _models(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get("IDGEN_MODELS", "").strip()
    if not text:
        return Settings.models
    models = tuple(name.strip() for name in text.split(","))
    if not all(models) or len(set(models)) < len(models):
        raise InputError(
            f"IDGEN_MODELS is {text!r}: name different models with commas between them, such as nobody-128,user/repo."
        )
    return models


def _whole(environ: Mapping[str, str], variable: str, default: int, low: int, high: int) -> int:
    text = environ.get(variable, "").strip()
    if not text:
        return default
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
