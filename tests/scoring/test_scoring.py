import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from idgen.evaluation.completing import Seen, fit_parts
from idgen.faces.align import align_ffhq
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import FaceFinder
from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.ground.identity import Identities, Identity, centres
from idgen.ground.provenance import encode
from idgen.model import Judge
from idgen.models.finder import FaceFinderNet
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer
from idgen.scoring import BINS, Bridge, Calibration, ErrorRates, Score, Scorer, explained, meaning
from idgen.scoring.calibration import EDGES, from_dict, to_dict, with_domain
from idgen.scoring.verdict import judge_threshold

PEOPLE, EACH, DE, DJ = 30, 6, 16, 12
LABELS = np.repeat(np.arange(PEOPLE), EACH)


def embeddings(seed: int = 0, spread: float = 0.7, map_seed: int | None = None) -> torch.Tensor:
    """Clustered unit vectors; with `map_seed`, the same people as seen by another recogniser."""
    rng = np.random.default_rng(seed)
    person = rng.normal(size=(PEOPLE, DE))[LABELS]
    if map_seed is not None:
        rng = np.random.default_rng(map_seed)
        person = person @ rng.normal(size=(DE, DJ)) / 4 + rng.normal(size=DJ)
    raw = person + spread * rng.normal(size=person.shape)
    return torch.from_numpy(raw / np.linalg.norm(raw, axis=1, keepdims=True)).float()


def bridge_of(encoder: torch.Tensor, judge: torch.Tensor, labels: np.ndarray, *spaces: str) -> Bridge:
    return Bridge.fit(centres(encoder, labels), centres(judge, labels), *spaces)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


# ---------------------------------------------------------------- calibration


def brute_force(probes: np.ndarray, vectors: np.ndarray, labels: np.ndarray, reference) -> tuple[list, list]:
    genuine, impostor = [], []
    for i, person in itertools.product(range(len(labels)), np.unique(labels)):
        others = (labels == person) & (np.arange(len(labels)) != i)
        if others.any():
            cosine = float(probes[i] @ reference(unit(vectors[others].sum(0))))
            (genuine if labels[i] == person else impostor).append(cosine)
    return genuine, impostor


def assert_rates(rates: ErrorRates, genuine: list, impostor: list) -> None:
    """Against the definitions, by hand."""
    genuine, impostor = np.array(genuine), np.array(impostor)
    assert (rates.genuine_pairs, rates.impostor_pairs) == (len(genuine), len(impostor))
    assert sum(rates.genuine) == len(genuine) and sum(rates.impostor) == len(impostor)
    for counts, scores in ((rates.genuine, genuine), (rates.impostor, impostor)):
        middle = (EDGES[1:] + EDGES[:-1]) / 2
        assert np.average(middle, weights=counts) == pytest.approx(scores.mean(), abs=1 / BINS)
    for fmr in (1e-2, 1e-3, 1e-4):
        threshold = rates.thresholds[f"{fmr:g}"]
        if len(impostor) * fmr < 10:
            assert threshold is None and rates.tar[f"{fmr:g}"] is None
            continue
        assert (impostor >= threshold + 1e-5).mean() <= fmr < (impostor >= threshold - 1e-5).mean() + 1e-9
        assert rates.tar[f"{fmr:g}"] == pytest.approx((genuine >= threshold).mean(), abs=2 / len(genuine))
    at = min(np.linspace(-1, 1, 4001), key=lambda t: abs((impostor >= t).mean() - (genuine < t).mean()))
    assert rates.eer == pytest.approx(((impostor >= at).mean() + (genuine < at).mean()) / 2, abs=0.01)


def test_measure_by_hand():
    vectors = embeddings()
    shuffled = np.random.default_rng(1).permutation(len(LABELS))
    labels = LABELS[shuffled]
    result = Calibration.measure("a", vectors[shuffled] * 3, labels, "made up")
    assert (result.space, result.people, result.images, result.data) == ("a", PEOPLE, PEOPLE * EACH, "made up")

    v = vectors[shuffled].double().numpy()
    genuine, impostor = [], []
    for i, j in itertools.combinations(range(len(v)), 2):
        (genuine if labels[i] == labels[j] else impostor).append(float(v[i] @ v[j]))
    assert_rates(result.rates("image-image"), genuine, impostor)
    assert_rates(result.rates("image-mean"), *brute_force(v, v, labels, lambda mean: mean))

    own = [v[labels == person] for person in range(PEOPLE)]
    genuine = [float(unit(images[0::2].sum(0)) @ unit(images[1::2].sum(0))) for images in own]
    rates = result.rates("mean-mean")
    assert rates.genuine == np.histogram(np.array(genuine), EDGES)[0].tolist()
    assert rates.impostor_pairs == PEOPLE * (PEOPLE - 1)


def test_measure_with_people_of_one_picture():
    keep = [*range(13), 20]  # two whole people, one with one picture, and one more
    vectors, labels = embeddings()[keep], LABELS[keep]
    result = Calibration.measure("a", vectors, labels, "made up")
    rates = result.rates("image-mean")
    assert (rates.genuine_pairs, rates.impostor_pairs) == (12, 14 * 3)
    assert result.rates("mean-mean").genuine_pairs == 2


def test_measure_bridge_by_hand():
    enc, jud = embeddings(), embeddings(map_seed=5)
    bridge = bridge_of(enc, jud, LABELS, "a", "b")
    plain = Calibration.measure("b", jud, LABELS, "made up")
    result = plain.measure_bridge(bridge, enc, jud, LABELS)
    assert list(result.kinds) == [*plain.kinds, "image-bridge"]
    weight, bias = bridge.weight.double().numpy(), bridge.bias.double().numpy()
    expected = brute_force(jud.double().numpy(), enc.double().numpy(), LABELS, lambda mean: unit(weight @ mean + bias))
    assert_rates(result.rates("image-bridge"), *expected)
    with pytest.raises(InputError, match="leads to the space 'b', but this one is 'a'"):
        Calibration.measure("a", enc, LABELS, "x").measure_bridge(bridge, enc, jud, LABELS)


def test_measure_refused():
    vectors = embeddings()
    for given, labels, says in (
        (vectors, np.zeros(len(LABELS)), "people with several pictures"),  # one person
        (vectors, np.arange(len(LABELS)), "people with several pictures"),  # no person with two pictures
        (vectors, LABELS[1:], "need as many labels"),
        (vectors * float("nan"), LABELS, "NaN"),
    ):
        with pytest.raises(InputError, match=says):
            Calibration.measure("a", given, labels, "x")


@pytest.fixture(scope="module")
def measured() -> Calibration:
    """Two known normal distributions."""
    rng = np.random.default_rng(0)
    rates = ErrorRates.measure(rng.normal(0.6, 0.1, 5000), rng.normal(0.0, 0.1, 20000))
    return Calibration("a", 500, 6000, "made up", {"image-mean": rates})


def test_thresholds_of_known_distributions(measured):
    assert measured.threshold("image-mean", 1e-2) == pytest.approx(0.2326, abs=0.005)
    assert measured.threshold("image-mean", 1e-3) == pytest.approx(0.309, abs=0.012)
    assert measured.rates("image-mean").eer == pytest.approx(math.erfc(3 / 2**0.5) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "fmr", "says"),
    [
        ("image-mean", 1e-4, r"20,000 comparisons.*too few.*0\.0001.*choose 0\.01 or 0\.001"),
        ("image-mean", 5e-3, r"false-match rate of 0\.005"),
        ("image-bridge", 1e-3, "says nothing on 'image-bridge'"),
    ],
)
def test_what_was_not_measured_is_refused(measured, kind, fmr, says):
    with pytest.raises(InputError, match=says):
        measured.threshold(kind, fmr)


def test_explanation(measured):
    words = meaning([measured], "rendered", "image-mean").explanation
    assert "do not score 1" in words and "about 0.60" in words and "1 in 1,000" in words and "500 people" in words
    assert "between 0.44 and 0.77" in words  # of a sample of N(0.6, 0.1²): 0.6 ± 0.164


def test_calibration_file(measured, tmp_path):
    path = tmp_path / "calibration.json"
    measured.save(path)
    right = read_json(path)
    photos = replace(measured, domain="photographs")
    assert from_dict(right) == [measured] and from_dict(to_dict([measured, photos])) == [measured, photos]
    (old,) = right["calibrations"]
    before = {"format": right["format"], "version": 1, **{key: value for key, value in old.items() if key != "domain"}}
    assert from_dict(before) == [measured]  # what was measured before domains were told was all rendered
    short = read_json(path)
    short["calibrations"][0]["kinds"]["image-mean"]["genuine"].pop()
    missing = {name: value for name, value in before.items() if name != "people"}
    for wrong in ([], {}, right | {"version": 3}, short, missing):
        with pytest.raises(InputError, match="no calibration that idgen can read"):
            from_dict(wrong)


def test_the_calibration_of_the_domain_applies_at_the_strictest_rate_that_it_carries(measured):
    photos = replace(measured, domain="photographs", people=7)
    found = meaning([measured, photos], "photographs", "image-mean", 1e-2)
    assert (found.calibration.people, found.fmr) == (7, 1e-2)
    assert found.threshold == photos.threshold("image-mean", 1e-2)
    assert meaning([measured, photos], "photographs", "image-mean", 1e-4).fmr == 1e-3  # 20,000 comparisons carry that
    assert meaning([measured], "photographs", "image-mean") is None
    assert meaning([measured], "rendered against photographs", "image-mean") is None
    assert meaning([measured, photos], "", "image-mean").calibration.people == 500
    assert [one.people for one in with_domain([measured, photos], replace(photos, people=8))] == [500, 8]
    with pytest.raises(InputError, match=r"false-match rate of 0\.005"):
        meaning([measured], "rendered", "image-mean", 5e-3)


def test_what_cosines_say_where_nobody_judges(measured):
    at = measured.threshold("image-mean", 1e-3)
    said = explained([measured], "rendered", "image-mean")
    assert said.startswith(f"{at:.2f} or more counts as the same person") and said.endswith("on rendered pictures")
    other = explained([measured], "photographs", "image-mean")
    assert "not measured on photographs, or on too few. For a verdict" in other
    assert "not measured here for this embedding space" in explained([], "photographs", "image-mean")


# ---------------------------------------------------------------- bridge


def test_bridge_is_ridge_regression_with_the_penalty_that_is_best_when_one_is_left_out():
    x, y = (centres(one, LABELS).double().numpy() for one in (embeddings(), embeddings(map_seed=5)))
    scale = np.square(x - x.mean(0)).sum() / DE  # the penalty itself stays as with everybody

    def fitted(rows: list[int], ridge: float) -> np.ndarray:
        """The same problem as plain least squares on augmented rows, the intercept not penalised."""
        penalties = np.hstack([(ridge * scale) ** 0.5 * np.eye(DE), np.zeros((DE, 1))])
        rows_x = np.vstack([np.hstack([x[rows], np.ones((len(rows), 1))]), penalties])
        return np.linalg.lstsq(rows_x, np.vstack([y[rows], np.zeros((DE, DJ))]), rcond=None)[0]

    def left_out(ridge: float) -> float:
        fits = [fitted([j for j in range(PEOPLE) if j != i], ridge) for i in range(PEOPLE)]
        return sum(np.square(x[i] @ fit[:-1] + fit[-1] - y[i]).sum() for i, fit in enumerate(fits))

    solution = fitted(list(range(PEOPLE)), min((10.0 ** (step / 2) for step in range(-8, 7)), key=left_out))
    people, seen = torch.from_numpy(x), torch.from_numpy(y)
    bridge = Bridge.fit(people, seen, "a", "b")
    # Kept in half precision, whose step is 2⁻¹¹ of a number.
    np.testing.assert_allclose(bridge.weight.numpy(), solution[:-1].T, rtol=2**-11, atol=1e-5)
    np.testing.assert_allclose(bridge.bias.numpy(), solution[-1], rtol=2**-11, atol=1e-5)
    expected = x @ solution[:-1] + solution[-1]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bridge(people).numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(bridge(people[0]).numpy(), expected[0], atol=1e-3)
    few = Bridge.fit(people[:5], seen[:5], "a", "b")(people)  # fewer people than dimensions
    assert few.isfinite().all() and torch.allclose(few.norm(dim=1), torch.ones(PEOPLE))


def test_bridge_file(tmp_path):
    path = tmp_path / "bridge.safetensors"
    x = embeddings()
    bridge = bridge_of(x, embeddings(map_seed=5), LABELS, "a", "b")
    bridge.save(path)
    again = Bridge.load(path)
    assert torch.equal(again(x), bridge(x)) and (again.source, again.target) == ("a", "b")
    right = load_file(path)
    for wrong, header in (
        ({"weight": right["weight"]}, {"from": "a", "to": "b"}),
        (right | {"extra": torch.ones(1)}, {"from": "a", "to": "b"}),
        (right, {"from": "a"}),
        (right | {"bias": torch.ones(3)}, {"from": "a", "to": "b"}),
    ):
        save_file(wrong, path, header)
        with pytest.raises(InputError, match="no readable bridge"):
            Bridge.load(path)
    with pytest.raises(InputError, match="no readable bridge"):
        Bridge.load(tmp_path / "none")


def test_bridge_refused():
    x, y = embeddings(), embeddings(map_seed=5)
    for call, says in (
        *((lambda a=a, b=b: Bridge.fit(a, b, "a", "b"), "at least 3 people") for a, b in ((x[:2], y[:2]), (x, y[1:]))),
        (lambda: Bridge.fit(x * float("nan"), y, "a", "b"), "NaN"),
        (lambda: Bridge.fit(x, y, "a", "b")(y), "takes vectors of 16 numbers"),
        (lambda: Bridge(torch.ones(3, 2), torch.ones(2), "a", "b"), "weight"),
    ):
        with pytest.raises(InputError, match=says):
            call()


# ---------------------------------------------------------------- judge and scorer, on real small networks

FACES, SHOTS, SIZE = 40, 8, 32
FACE_LABELS = np.repeat(np.arange(FACES), SHOTS)


def pictures() -> torch.Tensor:
    """Smooth colour patterns, one a person, with noise: random networks tell them apart, though not perfectly."""
    generator = torch.Generator().manual_seed(0)
    person = torch.nn.functional.interpolate(
        torch.rand(FACES, 3, 4, 4, generator=generator), (SIZE, SIZE), mode="bicubic"
    )
    noise = torch.rand(FACES * SHOTS, 3, SIZE, SIZE, generator=generator)
    return (0.7 * person[FACE_LABELS] + 0.3 * noise).clamp(0, 1)


def photo(row: int, width: int = 90, height: int = 70) -> Image.Image:
    return Image.fromarray((pictures()[row].permute(1, 2, 0) * 255).byte().numpy()).resize((width, height))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with an encoder that finds a face everywhere, a judge, and the calibrations of both."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    net = FaceFinderNet(channels=(8, 8, 8, 8), image_size=64)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias[0], net.head.bias[1] = 5.0, 3.0  # sure everywhere; larger than the picture, so it is one face
    encoder = FaceEncoder(ResNetRecognizer((8, 8), (1, 1), DE, SIZE), FaceFinder(net), space="enc", flip=False)
    recognizer = FaceEncoder(PlainRecognizer((8, 16, 32), (1, 1, 1), DJ, SIZE), space="jud", flip=False)
    images = pictures()
    with torch.no_grad():  # what every picture has in common would drown the rest in an untrained network
        recognizer.recognizer.head[-1].bias -= recognizer.recognizer(images * 2 - 1).mean(0)
    encoder.save_pretrained(folder / "encoder")
    recognizer.save_pretrained(folder / "judge")
    seen = Seen(encoder.encode(images), recognizer.encode(images), FACE_LABELS)
    fit_parts(("enc", "jud"), seen, seen, "patterns").save(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(model) -> Scorer:
    return Scorer(FaceEncoder.from_pretrained(model / "encoder"), Judge.from_pretrained(model / "judge"), fmr=1e-2)


@pytest.fixture(scope="module")
def people(scorer) -> torch.Tensor:
    """(FACES, DE) whom the pictures show, to the encoder."""
    return centres(scorer.encoder.encode(pictures()), FACE_LABELS)


def test_calibrate_is_embed_then_measure_and_a_judge_can_be_saved(model, scorer, tmp_path):
    images = pictures()
    enc, jud = scorer.encoder.encode(images), scorer.judge.encode(images)
    for part in ("encoder", "judge"):
        (tmp_path / part).mkdir()
    seen = Seen(enc, jud, FACE_LABELS)
    parts = fit_parts(("enc", "jud"), seen, seen, "patterns")
    parts.save(tmp_path)
    own, judged = parts.own, parts.judged
    assert set(own.kinds) == {"image-image", "image-mean", "mean-mean"}
    assert set(judged.kinds) == {*own.kinds, "image-bridge"}
    for part, calibration in (("encoder", own), ("judge", judged)):
        (written,), again = (from_dict(read_json(folder / part / "calibration.json")) for folder in (model, tmp_path))
        assert again == [calibration]
        for kind, rates in written.kinds.items():
            assert rates.eer == pytest.approx(calibration.rates(kind).eer, abs=1e-3)
    scorer.judge.save_pretrained(tmp_path / "again")
    again = Judge.from_pretrained(tmp_path / "again")
    assert again.space == "jud" and again.calibrations == scorer.judge.calibrations
    assert torch.equal(again.encode(images[:3]), scorer.judge.encode(images[:3]))


def test_score_by_hand(scorer, people):
    images = pictures()[[0, 1, 9, 100]]
    wanted = people[[0, 0, 1, 3]]  # the last picture is of person 12
    scores = scorer.score(images, wanted, of="rendered")
    bridge = scorer.judge.bridge
    for image, vector, score in zip(images, wanted.double().numpy(), scores, strict=True):
        own = scorer.encoder.encode(image[None])[0].double().numpy()
        judged = scorer.judge.encode(image[None])[0].double().numpy()
        reference = unit(bridge.weight.double().numpy() @ vector + bridge.bias.double().numpy())
        assert score.similarity == pytest.approx(float(own @ vector), abs=1e-5)
        assert score.judge_similarity == pytest.approx(float(judged @ reference), abs=1e-5)
        assert score.match == (score.judge_similarity >= score.judge_threshold)
        assert score.threshold == scorer.calibrations[0].threshold("image-mean", 1e-2)
        assert score.judge_threshold == scorer.judge.calibrations[0].threshold("image-bridge", 1e-2)
    assert isinstance(scores[0].similarity, float) and isinstance(scores[0].match, bool)


def test_the_judge_gives_the_verdict(scorer, people):
    """The verdicts on real pairs and strangers have the error rates that the judge's calibration promises."""
    images = pictures()
    strangers = people[(FACE_LABELS + 7) % FACES]
    assert np.mean([score.match for score in scorer.score(images, strangers, of="rendered")]) <= 0.05
    share = np.mean([score.match for score in scorer.score(images, people[FACE_LABELS], of="rendered")])
    assert share == pytest.approx(scorer.judge.calibrations[0].rates("image-bridge").tar["0.01"], abs=0.15)


def test_score_takes_identities(scorer, people):
    images = pictures()[:3]
    one = Identity(people[0], "enc", "mean of 8 photos", "p")
    three = Identities(people[[0, 0, 0]], "enc", ["x"] * 3, ["a", "b", "c"])
    by_tensor = scorer.score(images, people[[0, 0, 0]])
    assert by_tensor == scorer.score(images, one) == scorer.score(images, three) == scorer.score(images, people[0])
    for exact, rounded in zip(by_tensor, scorer.score([photo(row, SIZE, SIZE) for row in range(3)], one), strict=True):
        assert rounded.similarity == pytest.approx(exact.similarity, abs=0.02)


def test_the_judge_sees_faces_as_it_was_trained_to(model, tmp_path):
    """An encoder on ArcFace crops, a judge on FFHQ's: one search, two crops."""
    encoder, judge = FaceEncoder.from_pretrained(model / "encoder"), Judge.from_pretrained(model / "judge")
    judge.recognizer.alignment = "ffhq"
    scorer = Scorer(encoder, judge, fmr=1e-2)
    photos = [photo(row, 200, 200) for row in (0, 9)]
    faces = [encoder.detect_and_align(photo)[1] for photo in photos]
    crops = [align_ffhq(photo, face.landmarks) for photo, face in zip(photos, faces, strict=True)]
    seen = judge.encode(crops)
    result = scorer.compare(*photos)
    assert result.judge_cosine == pytest.approx(float(seen[0] @ seen[1]), abs=1e-5)
    own = encoder.encode(photos, aligned=False)
    assert result.cosine == pytest.approx(float(own[0] @ own[1]), abs=1e-5)
    wanted = torch.eye(DE)[:2]
    for aligned, shown in ((False, own), (True, encoder.encode(photos))):
        for row, score in enumerate(scorer.score(photos, wanted, aligned)):
            expected = float(seen[row] @ judge.bridge(wanted[row]))
            assert score.judge_similarity == pytest.approx(expected, abs=1e-5)
            if not aligned:
                assert score.similarity == pytest.approx(float(shown[row] @ wanted[row]), abs=1e-5)
    judge.recognizer.alignment = "arcface"
    assert abs(scorer.compare(*photos).judge_cosine - result.judge_cosine) > 1e-4


def test_where_no_face_is_found_nothing_matches(model):
    encoder, judge = FaceEncoder.from_pretrained(model / "encoder"), Judge.from_pretrained(model / "judge")
    with torch.no_grad():
        encoder.finder.net.head.bias[0] = -5.0  # sure of nothing
    scorer = Scorer(encoder, judge, fmr=1e-2)
    (score,) = scorer.score(pictures()[:1], torch.eye(DE)[0], aligned=False, of="rendered")
    assert np.isnan(score.similarity) and np.isnan(score.judge_similarity) and score.match is False
    assert scorer.sentence([score]).startswith("None of 1")


def test_score_refused(scorer):
    images, vectors = pictures()[:3], torch.eye(DE)[:3]
    shape = r"need vectors \(3, 16\)"
    for shown, wanted, says in (
        (images, Identity(vectors[0], "other", "x", "n"), r"'other'.*'enc'"),
        ([], vectors, "no pictures"),
        *((images, wrong, shape) for wrong in (vectors[:2], torch.eye(DE + 1)[:3], torch.ones(3, DE, 1))),
    ):
        with pytest.raises(InputError, match=says):
            scorer.score(shown, wanted)


def test_scorer_refused(scorer):
    encoder, judge = scorer.encoder, scorer.judge
    weight, bias = judge.bridge.weight, judge.bridge.bias
    uncalibrated = FaceEncoder(judge.recognizer.recognizer, space="jud", flip=False)
    mistaken = FaceEncoder(encoder.recognizer, space="enc", calibration=judge.recognizer.calibration)
    others = encoder.calibration
    itself = Judge(encoder, Bridge(torch.eye(DE), torch.zeros(DE), "enc", "enc"))
    stranger = Judge(judge.recognizer, Bridge(weight, bias, "other", "jud"))
    few = judge.calibrations[0]
    nothing = dict.fromkeys(few.kinds["image-bridge"].thresholds)
    few = replace(few, kinds={"image-bridge": replace(few.kinds["image-bridge"], thresholds=nothing)})
    few_seen = Judge(
        FaceEncoder(judge.recognizer.recognizer, space="jud", flip=False, calibration=to_dict([few])), judge.bridge
    )
    for call, says in (
        (lambda: Scorer(encoder, itself), "may not judge itself"),
        (lambda: Scorer(encoder, stranger), r"'other'.*'enc'"),
        (lambda: Scorer(mistaken, judge), r"space 'jud', not of 'enc'"),
        (lambda: Scorer(encoder, judge, fmr=5e-3), r"false-match rate of 0\.005"),
        (lambda: judge_threshold(judge, "image-bridge", 1e-4), "too few"),
        (
            lambda: judge_threshold(few_seen, "image-bridge", 1e-2),
            r"too few to know .* 0\.01: calibrate on more people",
        ),
        (lambda: judge_threshold(judge, "image-bridge", 1e-2, "photographs"), "no calibration on photographs"),
        (lambda: judge_threshold(Judge(uncalibrated, judge.bridge), "image-image"), "no calibration for image-image"),
        (lambda: scorer.compare(photo(0), photo(9), of="paintings"), "no domain 'paintings'"),
        (lambda: Judge(judge.recognizer, Bridge(weight, bias, "enc", "else")), r"leads to the space 'else'.*'jud'"),
        (
            lambda: Judge(FaceEncoder(uncalibrated.recognizer, space="jud", calibration=others), judge.bridge),
            r"of the space 'enc'.*'jud'",
        ),
        (lambda: scorer.compare(photo(0), Identity(torch.eye(DE)[0], "other", "x", "n")), r"'other'.*'enc'"),
        (lambda: scorer.compare(photo(0), Identity(torch.eye(DE + 1)[0], "enc", "x", "n")), "17 numbers"),
    ):
        with pytest.raises(InputError, match=says):
            call()


@pytest.mark.parametrize(
    ("a", "b", "kind", "judge_kind"),
    [
        ("photo", "photo", "image-image", "image-image"),
        ("photo", "mean of 3 pictures (rendered)", "image-mean", "image-bridge"),
        ("sampled, seed 1, number 0", "photo", "image-mean", "image-bridge"),
        ("photo", "1 picture (rendered)", "image-image", "image-bridge"),
        ("1 picture (rendered)", "mean of 2 pictures (rendered)", "image-mean", None),
        ("mean of 2 pictures (rendered)", "sampled, seed 1, number 0", "mean-mean", None),
        ("1 picture (rendered)", "1 picture (rendered)", "image-image", None),
    ],
)
def test_compare(scorer, people, a, b, kind, judge_kind):
    sides, own, judged = [], [], []
    for number, what in enumerate((a, b)):
        if what == "photo":
            sides.append(encode(photo(number * 9), {"model": "nobody-128"}))  # rendered, says its mark
            crop = [scorer.encoder.detect_and_align(sides[-1])[0]]
            own += scorer.encoder.encode(crop)
            judged += scorer.judge.encode(crop)
        else:
            sides.append(Identity(people[number], "enc", what, "n"))
            own.append(people[number])
            judged.append(scorer.judge.bridge(people[number]))
    result = scorer.compare(*sides)
    assert (result.kind, result.fmr) == (kind, 1e-2)
    assert result.cosine == pytest.approx(float(own[0] @ own[1]), abs=1e-5)
    assert result.threshold == scorer.calibrations[0].threshold(kind, 1e-2)
    if judge_kind is None:
        assert result.judge_cosine is None and result.judge_threshold is None
        assert result.match == (result.cosine >= result.threshold)
        assert "says the encoder" in result.sentence()
    else:
        assert result.judge_cosine == pytest.approx(float(judged[0] @ judged[1]), abs=1e-5)
        assert result.judge_threshold == scorer.judge.calibrations[0].threshold(judge_kind, 1e-2)
        assert result.match == (result.judge_cosine >= result.judge_threshold)
        assert "says the judge" in result.sentence() and "1 in 100 " in result.sentence()
    assert result.domain == "rendered" and "measured on rendered pictures" in result.sentence()
    assert result.verdict == ("same person" if result.match else "different people")
    assert result.sentence().startswith(result.verdict.capitalize())
    assert scorer.compare(*sides[::-1]).cosine == pytest.approx(result.cosine, abs=1e-6)


def test_sentence(scorer):
    yes, no = (Score(x, x, x > 0.3, 0.3, 0.3, fmr=1e-2) for x in (0.5, 0.1))
    tail = "the wanted person, says the independent judge, at a false-match rate of 1 in 100, "
    tail += "measured on rendered pictures."
    assert scorer.sentence([yes] * 7 + [no]) == f"7 of 8 are {tail}"
    assert scorer.sentence([yes, no]) == f"1 of 2 is {tail}"
    assert scorer.sentence([no, no]) == f"None of 2 are {tail}"


# ---------------------------------------------------------------- the domain


def test_photographs_get_no_verdict_from_a_calibration_on_renders(scorer, people):
    person = Identity(people[0], "enc", "1 photo", "p")
    for sides in ((photo(0), photo(9)), (photo(0), person), (person, Identity(people[1], "enc", "sampled", "s"))):
        said = scorer.compare(*sides)
        assert (said.match, said.domain, said.threshold, said.judge_threshold) == (None, None, None, None)
        assert said.verdict == "no verdict" and said.of == "photographs" and math.isfinite(said.cosine)
        assert "was not measured on photographs" in said.sentence() and "dlib" in said.sentence()
    assert scorer.compare(photo(0), photo(9), of="rendered").match is not None
    mixed = scorer.compare(encode(photo(0), {"model": "nobody-128"}), photo(0))
    assert mixed.of == "rendered against photographs" and mixed.match is None
    for wanted in (person, people[0]):  # a bare vector may be anybody's
        (score,) = scorer.score(pictures()[:1], wanted)
        assert (score.match, score.domain, score.of) == (None, None, "rendered against photographs")
        said = scorer.sentence([score])
        assert said.startswith("No verdict on 1 picture: their mean similarity by the judge is")
        assert "rendered pictures against photographs" in said


def test_a_picture_of_the_model_is_what_the_model_paints(scorer):
    own = Scorer(scorer.encoder, scorer.judge, 1e-2, paints="rendered", name="mine")
    pair = [encode(photo(row), {"model": "mine"}) for row in (0, 9)]
    assert own.compare(*pair).domain == "rendered"
    assert scorer.compare(*pair).of == "generated by mine" and scorer.compare(*pair).match is None


def test_too_few_comparisons_for_a_rate_are_said(scorer):
    strict = Scorer(scorer.encoder, scorer.judge, 1e-4)
    said = strict.compare(photo(0), photo(9), of="rendered")
    assert said.fmr > 1e-4 and "too few comparisons were measured for 0.0001" in said.sentence()
    scores = strict.score(pictures()[:2], torch.eye(DE)[0], of="rendered")
    assert "Too few comparisons were measured for 1 in 10,000" in strict.sentence(scores)


def test_a_witness_that_was_measured_on_photographs_judges_them(scorer):
    rates = {"image-image": ErrorRates.measure(np.linspace(0.5, 0.9, 500), np.linspace(-0.5, 0.4, 5000))}
    known = Calibration("pho", 9, 90, "made up", rates, "photographs")
    witness = FaceEncoder(scorer.judge.recognizer.recognizer, space="pho", calibration=to_dict([known]))
    both = Scorer(scorer.encoder, scorer.judge, 1e-2, witnesses=[witness])
    said = both.compare(photo(0), photo(9))
    assert (said.by, said.domain, said.judge_threshold) == ("pho", "photographs", known.threshold("image-image", 1e-2))
    assert said.match == (said.judge_cosine >= said.judge_threshold) and "says pho" in said.sentence()
    assert both.compare(photo(0), photo(9), of="rendered").by == "judge"


def test_people_from_photos_are_compared_by_own_vectors(scorer, people):
    """Like with like: by whoever saw both sides and was measured on such pictures, and not by way of the bridge."""
    rates = {"image-image": ErrorRates.measure(np.linspace(0.5, 0.9, 500), np.linspace(-0.5, 0.4, 5000))}
    known = Calibration("pho", 9, 90, "made up", rates, "photographs")
    witness = FaceEncoder(scorer.judge.recognizer.recognizer, space="pho", calibration=to_dict([known]))
    both = Scorer(scorer.encoder, scorer.judge, 1e-2, witnesses=[witness])
    crops = [photo(row, SIZE, SIZE) for row in (0, 9)]
    here, there = (scorer.encoder.identify([crop], aligned=True, name="p", viewers=[witness]) for crop in crops)
    seen, views = witness.encode(crops), [(crop,) * 3 for crop in crops]
    assert torch.allclose(here.also["pho"], seen[0], atol=1e-6) and set(here.also) == {"pho"}
    for sides in ((views[0], there), (here, views[1]), (here, there)):
        said = both.compare(*sides)
        assert (said.by, said.kind, said.domain) == ("pho", "image-image", "photographs")
        assert said.judge_cosine == pytest.approx(float(seen[0] @ seen[1]), abs=1e-5)
    plain = replace(there, also={})
    assert both.compare(here, plain).by == "encoder" and both.compare(here, plain).match is None
    assert both.compare(views[0], plain).match is None, "nobody has seen the photo of that file"


def test_scores_are_against_what_was_measured(scorer, people):
    photos = {"image-image": ErrorRates.measure(np.linspace(0.5, 0.9, 500), np.linspace(-0.5, 0.4, 5000))}
    photos["image-mean"] = ErrorRates.measure(np.linspace(0.6, 0.9, 500), np.linspace(-0.5, 0.5, 5000))
    judge = Judge(scorer.judge.recognizer, scorer.judge.bridge)
    own = Scorer(scorer.encoder, judge, 1e-2, paints="generated by m", name="m")
    one, several = (Identity(people[0], "enc", source, "p") for source in ("1 photo", "mean of 3 photos"))
    sampled, image = Identity(people[0], "enc", "sampled", "s"), pictures()[:1]
    seen = torch.nn.functional.normalize(torch.arange(DJ).float(), dim=0)
    assert own.score(image, replace(one, also={"jud": seen}))[0].against == "own vector"
    assert not own.wants_own_pictures(sampled), "nothing was measured of them"
    judge.calibrations = [
        Calibration("jud", 9, 90, "made up", photos, of)
        for of in ("generated by m", "generated by m against photographs")
    ]
    assert own.wants_own_pictures(sampled) and not own.wants_own_pictures(one)
    cosine = float(judge.encode(image)[0] @ seen)
    for person, kind, against in (
        (one, "image-image", "own vector"),
        (several, "image-mean", "own vector"),
        (sampled, "image-mean", "own pictures"),
    ):
        (plain,), (score,) = own.score(image, person), own.score(image, replace(person, also={"jud": seen}))
        assert (plain.match, plain.against) == (None, "bridge")
        assert score.judge_similarity == pytest.approx(cosine, abs=1e-5) and score.against == against
        assert score.judge_threshold == judge.calibrations[0].threshold(kind, 1e-2)
        mine = replace(person, also={"jud": seen})
        said = own.sentence(own.score(image, mine))
        assert ("with its own pictures" in said) == (against == "own pictures") != ("the wanted person" in said)
        assert torch.allclose(own.way(mine).vector(mine, judge), seen)
    bridged = photos | {"image-bridge": photos["image-mean"]}
    judge.calibrations = [Calibration("jud", 9, 90, "made up", bridged, "generated by m")]
    assert own.score(image, replace(sampled, also={"jud": seen}))[0].against == "bridge", "sampled people have no photo"
