"""The page of a shared model: what it is, how good it is as measured, on what data, and what it is not for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from idgen.faces.encoder import FaceEncoder
from idgen.ground.domain import pictures
from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.model import Model
from idgen.scoring import calibrations_of

CARD, SHEET = "README.md", "people.png"
TAGS = ["face-generation", "synthetic-faces", "identity", "diffusion", "face-recognition"]
ENCODER_TAGS = ["face-recognition", "face-embedding"]


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    key: str  # for machines
    name: str
    value: float  # shares from 0 to 1
    text: str  # as it is shown
    of_model: bool = True  # it says how good the model is; else it is what a reader compares that with


def read_evaluation(path: str | Path) -> dict[str, Any]:
    """The result of `idgen evaluate`: its folder or its evaluation.json.

    Raises:
        InputError: there is none, or it is something else.
    """
    path = Path(path, "evaluation.json") if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise InputError(f"There is no result of `idgen evaluate` in {path}.")
    content = read_json(path)
    if content.get("format") != "idgen.evaluation":
        raise InputError(f"{path} is not what `idgen evaluate` writes.")
    return content


def risk(path: str | Path | None) -> str:
    """What `idgen audit` said of template inversion, in a sentence, where its audit.json lies beside an evaluation;
    else that it was not measured."""
    file = None if path is None else (Path(path) if Path(path).is_dir() else Path(path).parent) / "audit.json"
    content = {} if file is None or not file.is_file() else read_json(file)
    said = [one.get("details", {}).get("sentence") for one in content.get("sections", []) if one["key"] == "inversion"]
    return str(said[0]) if said and said[0] else "How often that passes for them was not measured (`idgen audit`)."


def figures(evaluation: dict[str, Any]) -> list[Figure]:
    """What a card shows of an evaluation: nothing that names a file or a person."""
    rows: list[Figure] = []

    def add(key: str, name: str, value: Any, text: str = "{:.1%}", of_model: bool = True) -> None:
        if value is not None:
            rows.append(Figure(key, name, float(value), text.format(value).replace("%", " %"), of_model))

    add("pictures", "pictures measured", evaluation["pictures"], "{:,}", False)
    add("people", "… of so many people", evaluation["people"], "{:,}", False)
    if fidelity := evaluation.get("fidelity"):
        rate = f"{fidelity['false_match_rate']:g}"
        add(f"fidelity@{rate}", f"pictures that match the wanted person, judge at FMR {rate}", fidelity["fidelity"])
        own = fidelity["same_rate_of_real_pictures"]
        add(f"real@{rate}", "… real pictures of their own person", own, of_model=False)
    if pairs := evaluation.get("verification"):
        add("eer", f"pairs of pictures, {pairs['by']}: equal error rate", pairs["eer"])
        for rate, tar in pairs["tar"].items():
            if pairs["certain"][rate]:  # else there were too few comparisons for it
                add(f"tar@{rate}", f"… true-accept rate at FMR {rate}", tar)
    if apart := evaluation.get("separability"):
        add("unique", "people who are told apart from everybody before them", apart["unique_share"])
    if varied := evaluation.get("diversity"):
        add("diversity", "diversity: 1 − mean cosine of one person's pictures", varied["distance"], "{:.3f}")
        add("yaw", "diversity: standard deviation of yaw, degrees", varied["yaw"], "{:.1f}")
    for name, value in evaluation.get("distances", {}).items():
        kind, _, space = name.partition("_")
        add(name, f"{kind.upper()} in the features of {space}", value, "{:.3g}")
    for search in evaluation.get("leakage", {}).get("searches", []):
        add("leaks", f"leaks, {search['kind']}: alarms", search["alarms"], "{:,.0f}", False)
        add("chance", "… expected by chance", search["expected_by_chance"], "{:.2g}", False)
    return rows


def _of_encoder(encoder: FaceEncoder) -> list[Figure]:
    """What a recogniser's calibrations say, see `idgen.scoring.Calibration`."""
    rows = []
    for known in calibrations_of(encoder):
        if (rates := known.kinds.get("image-image")) is None:
            continue
        on = pictures(known.domain)
        rows.append(Figure("eer", f"pairs of {on}: equal error rate", rates.eer, f"{100 * rates.eer:.2f} %"))
        for rate, tar in rates.tar.items():
            if tar is not None:  # else there were too few comparisons for it
                text = f"{100 * tar:.1f} %, threshold {rates.thresholds[rate]:.3f}"
                rows.append(Figure(f"tar@{rate}", f"true-accept rate at FMR {rate}", tar, text))
    return rows


def _table(rows: Sequence[Figure], none: str) -> str:
    lines = ["| figure | measured |", "|---|---|", *(f"| {row.name} | {row.text} |" for row in rows)]
    return "\n".join(lines) if rows else none


def model_card(
    model: Model,
    repo: str,
    *,
    licence: str | None,
    data: str | None,
    alone: bool,
    rows: Sequence[Figure] = (),
    measured: str = "",
    sheet: bool = False,
    inversion: str = "",
) -> str:
    """The page of a model that has none.

    Args:
        model, repo: whose, and where it will be.
        licence: the Hub's name of one, such as "apache-2.0".
        data: what it was trained on, in its author's words.
        alone: whether its code is in the repository, for people without idgen.
        rows, measured: figures, and on what they were measured, in a sentence.
        sheet: whether there is `SHEET`.
        inversion: how often a stolen vector gives a picture that passes for its owner, see `risk`.

    Raises:
        InputError: there is no licence.
    """
    pipeline, space = type(model.pipeline).__name__, model.pipeline.config.space
    encoder = model.encoder if model.has("encoder") else None
    sampled, name = model.has("sampler"), repo.split("/")[-1]
    people = "model.sampler.sample(4, seed=0)" if sampled else 'Identities.load("people.safetensors")'
    own = "" if sampled else f"  # your vectors in the space {space}"
    use = f"""\
from idgen import {"" if sampled else "Identities, "}load_model

model = load_model("{repo}")
people = {people}{own}
pictures = model.pipeline(people, images_per_identity=8).images"""
    without = f"""\
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(
    "{repo}", custom_pipeline="pipeline", trust_remote_code=True
)
pictures = pipeline(vectors, images_per_identity=8).images"""
    such = ", such as those in `people.safetensors`" if sampled else ""
    sections = [
        f"# {name}",
        "Pictures of a person from a face-recognition vector, by latent diffusion.",
        f"![One person a row, none of whom exists; frame and number: the judge's verdict and cosine]({SHEET})" * sheet,
        f"## Use\n\nWith idgen:\n\n```python\n{use}\n```",
        f'`{pipeline}.from_pretrained("{repo}")` loads it too, and so does `DiffusionPipeline` after `import idgen`.',
        "Without idgen, by the code in this repository, which you should read first. `vectors` is a tensor (N, D) of "
        f"unit vectors in the space `{space}`{such}:\n\n```python\n{without}\n```"
        if alone
        else "Without idgen it does not load.",
        "## Figures",
        _table(rows, "None were measured."),
        measured,
        "*Match*: the judge, a recogniser that had no part in making the picture, puts its cosine at or above the "
        "threshold that this share of comparisons of different people reach (FMR, the false-match rate)."
        if model.has("judge")
        else "There is no judge in it: nothing independent says whether a picture is of the wanted person.",
        *_data(data, encoder),
        "## Intended use and limits",
        "For research on face recognition with people who do not exist, for teaching, and for demonstrations. Not for "
        "identifying people, and not for pictures of real people without their consent: from the vector of a real "
        "person it draws that person, so it is a template-inversion tool too. "
        f"{inversion} Generated pictures have to say that they are; idgen writes that into their metadata.",
        f"## Licence\n\n`{licence}`. {encoder.notice if encoder is not None else ''}".rstrip(),
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    return completed(text, licence, name=name, rows=rows)


def encoder_card(encoder: FaceEncoder, repo: str, licence: str | None, data: str | None) -> str:
    """The page of a face encoder; arguments and errors as `model_card`."""
    rows, name = _of_encoder(encoder), repo.split("/")[-1]
    use = f"""\
from idgen import FaceEncoder

encoder = FaceEncoder.from_pretrained("{repo}")
vectors = encoder.encode(["face.png"])"""
    sections = [
        f"# {name}",
        f"A face encoder: aligned faces, or photos, to unit vectors of the space `{encoder.space}`.",
        f"## Use\n\n```python\n{use}\n```",
        f"`idgen export onnx {repo} recognizer.onnx` makes a file of it that insightface reads.",
        "## Figures",
        _table(rows, "None were measured: a cosine of its vectors has no meaning yet."),
        *_data(data, encoder),
        "## Intended use and limits",
        "For research on people who do not exist. On faces unlike those that it was trained and measured on, its "
        "scores mean something else. A vector is biometric data: it can be used to recognise a person.",
        f"## Licence\n\n`{licence}`.",
    ]
    text, task = "\n\n".join(sections) + "\n", "image-feature-extraction"
    return completed(text, licence, name=name, rows=rows, tags=ENCODER_TAGS, task=task)


def _data(data: str | None, encoder: FaceEncoder | None) -> list[str]:
    said = ["## Data", data or "Its author did not say what it was trained on."]
    for known in [] if encoder is None else calibrations_of(encoder):
        on = f"{pictures(known.domain)} ({known.data})"
        said.append(f"Its scores were calibrated on {on}: on other faces they mean something else.")
    return said


def completed(
    text: str,
    licence: str | None,
    *,
    name: str,
    rows: Sequence[Figure] = (),
    tags: Sequence[str] = TAGS,
    task: str = "image-to-image",
) -> str:
    """A card with what its front matter lacks; what it says already stays, and one that lacks nothing stays as it is.

    Args:
        text: a README.md, with or without front matter.
        licence: None where the card says it.
        name, rows: of the model, and its figures, which are added where there are none.
        tags, task: the Hub's.

    Raises:
        InputError: the front matter cannot be read, nobody says the licence, or two differ.
    """
    try:
        card = ModelCard(text if text.lstrip().startswith("---") else f"---\n\n---\n{text}")
    except Exception as error:  # of YAML or of the Hub's checks
        raise InputError(f"The front matter of {CARD} cannot be read: {' '.join(str(error).split())}") from error
    about: Any = card.data
    before = about.to_dict()
    said = before.get("license")
    if said is None and licence is None:
        raise InputError("Nobody says under which licence the model is: add --licence, such as --licence apache-2.0.")
    if said is not None and licence is not None and said != licence:
        raise InputError(f"The card says the licence is {said}, you say {licence}: correct one of them.")
    wanted = {"license": licence, "library_name": "idgen", "pipeline_tag": task, "tags": list(tags)}
    missing = {key: value for key, value in wanted.items() if before.get(key) is None}
    for key, value in missing.items():
        setattr(about, key, value)
    measured = bool(rows) and not about.eval_results
    if measured:
        kind = "generated" if task == "image-to-image" else "faces"
        about.model_name = about.model_name or name
        about.eval_results = [
            EvalResult(task, kind, "idgen evaluate", row.key, row.value, metric_name=row.name.removeprefix("… "))
            for row in rows
            if row.of_model
        ]
    return str(card) if missing or measured else text
