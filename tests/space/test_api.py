"""The endpoints for programs, as `gradio_client` calls them."""

from __future__ import annotations

import contextlib
import io
import threading
import time
import zipfile
from pathlib import Path

import httpx
import pytest
import torch
from PIL import Image
from served import Served
from tiny import encoded, noise_png

from benchmarks.space_load import measure, plan
from idgen.ground import provenance
from idgen.model import Model
from space import actions
from space.settings import Settings

gradio_client = pytest.importorskip("gradio_client")

_PATIENT = {"timeout": 120}  # seconds; a shared machine is slow, and waiting costs nothing when it is not


def connect(address: str, folder: Path):
    return gradio_client.Client(address, verbose=False, download_files=str(folder), httpx_kwargs=_PATIENT)


@pytest.fixture(scope="module")
def client(app, tmp_path_factory: pytest.TempPathFactory):
    return connect(app[0], tmp_path_factory.mktemp("answers"))


def pixels(path: str) -> bytes:
    return Image.open(path).tobytes()


def test_the_endpoints_are_those_that_are_promised_and_typed(client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/sample", "/identify", "/generate", "/compare"}
    types = {}
    for name, endpoint in endpoints.items():
        types[name] = {one["parameter_name"]: one["python_type"]["type"] for one in endpoint["parameters"]}
    assert types["/sample"] == {"seed": "int", "model": "str"}
    assert types["/identify"]["photo"] == types["/compare"]["first"] == "filepath"
    assert types["/generate"]["images"] == "int" and types["/generate"]["variation"] == "float"
    returned = [one["python_type"]["type"] for one in endpoints["/generate"]["returns"]]
    assert returned[1:] == ["list[filepath]", "filepath", "filepath"]


def test_how_pictures_look_is_asked_for_and_answered(client, told: Model) -> None:
    wishes = {"yaw": 30, "glasses": "yes"}
    report, *_ = client.predict(1, 2, 0, 5, model=told.name, attributes=wishes, api_name="/generate")
    assert report["attributes"] == wishes
    (line,) = report["pictures"]
    assert line["attributes"]["yaw"] == 30 and line["attributes"]["glasses"] == "yes" and "smile" in line["attributes"]
    for wrong, why in (({"yaw": 200}, "from -60 to 60"), ({"smle": 1}, "this model knows beard")):
        with pytest.raises(gradio_client.exceptions.AppError, match=why):
            client.predict(1, 2, 0, 5, model=told.name, attributes=wrong, api_name="/generate")


def test_sample_then_generate(client, small: Model) -> None:
    person = client.predict(11, api_name="/sample")
    assert torch.equal(torch.tensor(person["vector"]), actions.sample(small, 11)[0].vector)
    report, pictures, archive, sheet = client.predict(2, 2, 0, 5, identity=person, api_name="/generate")
    expected = list(small.pipeline.iterate(actions.sample(small, 11)[0], 2, num_inference_steps=2, seed=5))
    assert [(line["seed"], line["k"]) for line in report["pictures"]] == [(5, 0), (5, 1)], "what makes them again"
    for path, image in zip(pictures, expected, strict=True):
        assert pixels(path) == image.image.tobytes(), "the very pixels"
    for path in (*pictures, sheet):
        assert "trainedAlgorithmicMedia" in provenance.read(path)["digital_source_type"]
    assert zipfile.is_zipfile(archive)
    assert client.predict(1, 1, person=11, api_name="/generate")[0]["source"] == person["source"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("/sample", 1.5), "whole number"),
        (("/generate", 10_000), "whole number from 1 to 64"),
        (("/generate", 64.0), "64 pictures are more than"),
        (("/generate", 1, 1, "x"), "variation"),
        (("/generate", 1, 1, 0, 0, None, 7, {"vector": []}), "hand that on as it is"),
        (("/sample", 7, "some/other"), "no model of that name"),
    ],
)
def test_a_mistake_comes_back_as_its_sentence(client, arguments: tuple, said: str) -> None:
    name, *values = arguments
    with pytest.raises(Exception, match=said):
        client.predict(*values, api_name=name)


def test_a_photo_is_answered_with_its_faces_and_what_verdicts_there_will_be(
    serving, built_in: Model, portraits: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(Image.open(io.BytesIO(portraits[0]))))
    with serving(built_in, tmp_path / "gradio") as address:
        photo = gradio_client.handle_file(str(tmp_path / "photo.png"))
        said = connect(address, tmp_path / "answers").predict(photo, True, api_name="/identify")
    assert said["faces"] == [1] and said["source"] == "1 photo" and len(said["vector"]) == built_in.encoder.dim
    assert "No verdict" in said["scope"] and "rendered pictures against photographs" in said["scope"]


def test_the_same_photo_from_two_visitors_is_two_uploads(app, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(noise_png())
    visitors = [connect(app[0], tmp_path / f"{number}") for number in range(3)]
    photo = gradio_client.handle_file(str(tmp_path / "photo.png"))
    jobs = [visitor.submit(photo, True, api_name="/identify") for visitor in visitors]
    assert not [job for job in jobs if "gone already" in str(job.exception(120))]


@pytest.mark.parametrize("meta", [{"meta": {"_type": "gradio.FileData"}}, {}])
def test_only_uploads_can_be_named(app, tmp_path: Path, meta: dict) -> None:
    """A path made up by a caller is neither read nor deleted."""
    mine = tmp_path / "mine.png"
    mine.write_bytes(noise_png())
    call = f"{app[0]}/gradio_api/call/identify"
    event = httpx.post(call, json={"data": [{"path": str(mine), **meta}, True, None, ""]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}", **_PATIENT).text
    assert "event: error" in answer and str(mine) not in answer
    assert mine.exists()


def test_a_request_that_is_cancelled_makes_way_for_the_next(client) -> None:
    job = client.submit(16, 100, api_name="/generate")
    while not any("share" in output[0] for output in job.outputs()):
        assert not job.done()
        time.sleep(0.05)
    assert job.cancel()
    began = time.monotonic()
    client.predict(1, 1, api_name="/generate")
    assert not any(thread.name == "idgen-work" for thread in threading.enumerate())
    assert time.monotonic() - began < 30


def test_the_operators_limits_hold(serving, small: Model, tmp_path: Path) -> None:
    settings = Settings(images_per_request=2, requests_per_minute=3, vector_uploads=False)
    with serving(small, tmp_path, settings) as address:
        client = connect(address, tmp_path)
        with pytest.raises(Exception, match="more than the 2 of one request"):
            client.predict(3, 1, api_name="/generate")
        person = client.predict(3, api_name="/sample")
        client.predict(1, 1, identity=person, api_name="/generate")
        with pytest.raises(Exception, match="switched off"):
            client.predict(1, 1, identity={**person, "source": "1 photo"}, api_name="/generate")
        with pytest.raises(Exception, match="3 requests within a minute"):
            client.predict(3, api_name="/sample")


def test_a_model_is_chosen_by_its_name(client, small: Model, unjudged: Model) -> None:
    person = client.predict(3, small.name, api_name="/sample")
    report = client.predict(1, 1, identity=person, model=unjudged.name, api_name="/generate")[0]
    assert report["model"] == unjudged.name and report["pictures"][0]["match"] is None
    with pytest.raises(Exception, match="cannot invent people"):
        client.predict(3, unjudged.name, api_name="/sample")


def test_a_visitor_who_leaves_the_line_does_not_stop_it(app, client) -> None:
    """Gradio forgets who left, and its queue ended when it next told everybody their place."""
    busy = client.submit(16, 60, api_name="/generate")
    for _ in range(6):
        event = httpx.post(f"{app[0]}/gradio_api/call/sample", json={"data": [7, ""]}).json()["event_id"]
        address = f"{app[0]}/gradio_api/call/sample/{event}"
        with contextlib.suppress(httpx.ReadTimeout), httpx.stream("GET", address, timeout=0.1) as messages:
            next(messages.iter_lines())
    busy.cancel()
    assert client.predict(7, api_name="/sample")["name"] == "person-7-0000"


def test_visitors_at_once_get_what_each_would_get_alone(served: Served, tmp_path: Path) -> None:
    said = measure(served, visitors=4, requests=2, images=2, steps=3, folder=tmp_path)
    assert said["requests"] == 8 and said["different"] == []
    assert said["refused"] < 4
    assert said["memory"]["after_together"] < 1.05 * said["memory"]["after_alone"]


def test_the_mix_of_what_they_ask_has_everything_in_it() -> None:
    mix = [plan(visitor, number, 4, 15) for visitor in range(32) for number in range(2)]
    assert {one["api_name"] for one in mix} == {"/sample", "/identify", "/compare", "/generate"}
    assert {one.get("guidance", 0) for one in mix} >= {None, 1.0, 2.0}
