import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Generator

from idgen.ground.errors import InputError
from idgen.ground.identity import key, person_seed
from idgen.models import IdentityFlow
from idgen.sampling import sampler as room
from idgen.sampling.sampler import IdentitySampler, principal_axes

DIM = 24


def people(count: int = 400, dim: int = DIM) -> torch.Tensor:
    """Unit vectors around an off-centre mean, with very different spreads along hidden directions."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    raw = rng.normal(size=(count, dim)) * np.geomspace(1, 0.02, dim) @ turn + 0.3
    return torch.from_numpy(raw / np.linalg.norm(raw, axis=1, keepdims=True)).float()


@pytest.fixture(scope="module")
def sampler() -> IdentitySampler:
    return IdentitySampler.fit(people(), "a")


@pytest.fixture(scope="module")
def with_flow() -> IdentitySampler:
    torch.manual_seed(0)
    flow = IdentityFlow(DIM, components=6, width=32, depth=1, steps=4)
    torch.nn.init.normal_(flow.outputs.weight, std=0.1)
    for buffer, fitted in zip(flow.buffers(), principal_axes(people(), 6), strict=True):
        buffer.copy_(fitted)
    return IdentitySampler.fit(people(), "a", flow=flow)


def test_flow_is_the_default_where_there_is_one(sampler, with_flow):
    assert sampler.method == "gaussian" and with_flow.method == "flow"
    drawn = with_flow.sample(3, 7)
    assert drawn.names[2] == "person-7-0002" and drawn.sources[2] == "sampled, seed 7, number 2"
    assert torch.equal(drawn.vectors, with_flow.sample(3, 7, "flow").vectors)
    other = with_flow.sample(3, 7, "gaussian")
    assert other.names[0] == "gaussian-7-0000" and "Gaussian" in other.sources[0]
    assert torch.equal(other.vectors, sampler.sample(3, 7).vectors)
    noise = torch.randn(6, generator=Generator().manual_seed(person_seed(7, 1)), dtype=torch.float64)
    torch.testing.assert_close(drawn.vectors[1], with_flow.flow.sample(noise[None].float())[0], atol=1e-5, rtol=0)


def test_fit_is_the_principal_axes(sampler):
    vectors = people().double().numpy()
    np.testing.assert_allclose(sampler.mean, vectors.mean(0), atol=1e-6)
    axes, deviations = sampler.axes.double().numpy(), sampler.deviations.double().numpy()
    np.testing.assert_allclose(axes @ axes.T, np.eye(DIM), atol=1e-5)
    np.testing.assert_allclose(axes.T @ np.diag(deviations**2) @ axes, np.cov(vectors.T), atol=1e-6)
    assert (np.diff(deviations) <= 0).all()
    assert (axes[np.arange(DIM), np.abs(axes).argmax(1)] > 0).all()


def test_components(sampler):
    few = IdentitySampler.fit(people(), "a", components=5)
    torch.testing.assert_close(few.axes, sampler.axes[:5])
    torch.testing.assert_close(few.deviations, sampler.deviations[:5])
    drawn = few.sample(50, 1).vectors.double().numpy()
    assert np.linalg.matrix_rank(drawn, tol=1e-5) == 6  # five axes and the mean
    assert IdentitySampler.fit(people(10), "a", 9).axes.shape == (9, DIM)


def test_sample_follows_its_equation(sampler):
    drawn = sampler.sample(3, seed=7)
    assert drawn.names == ("person-7-0000", "person-7-0001", "person-7-0002") and drawn.space == "a"
    assert drawn.sources[2] == "sampled, seed 7, number 2" and not drawn[2].from_photo
    z = torch.randn(DIM, generator=Generator().manual_seed(person_seed(7, 2)), dtype=torch.float64).numpy()
    x = sampler.mean.double().numpy() + (z * sampler.deviations.double().numpy()) @ sampler.axes.double().numpy()
    np.testing.assert_allclose(drawn.vectors[2], x / np.linalg.norm(x), atol=1e-7)


def test_sampled_people_live_where_people_live(sampler):
    real, drawn = people(), sampler.sample(2000, 0).vectors

    def mean_cosine(vectors: torch.Tensor) -> float:
        return float(vectors.mean(0).square().sum())

    assert mean_cosine(drawn) == pytest.approx(mean_cosine(real), abs=0.03)
    along = sampler.axes[:3]
    torch.testing.assert_close((drawn @ along.T).std(0), (real @ along.T).std(0), rtol=0.15, atol=0)
    uniform = sampler.sample(2000, 0, "sphere")
    assert mean_cosine(uniform.vectors) < 0.01
    assert uniform.names[1] == "sphere-0-0001" and "sphere" in uniform.sources[1]


@pytest.mark.parametrize("method", ["flow", "gaussian", "sphere"])
def test_person_depends_only_on_seed_and_number(with_flow, method):
    sampler = with_flow
    whole = sampler.sample(12, 3, method)
    for first, n in ((0, 1), (5, 5), (11, 1)):
        part = sampler.sample(n, 3, method, first=first)
        assert part.names == whole.names[first : first + n]
        assert [key(v) for v in part.vectors] == [key(v) for v in whole.vectors[first : first + n]]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(sampler.sample(12, 3, method).vectors, whole.vectors)
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(sampler.sample(1, 4, method).vectors[0], whole.vectors[0])


@pytest.mark.parametrize("method", ["flow", "gaussian", "sphere"])
def test_how_many_are_drawn_together_decides_nothing(with_flow, method, monkeypatch):
    """Here many a number is in doubt: by blocks of eight, all are again what they are in any company."""
    monkeypatch.setattr(room, "_SLACK", 2e-9)
    blocks = [with_flow._drawn(3, range(first, first + 8), method).float() for first in (0, 8, 16)]
    kept = with_flow._drawn

    def rough(seed, people, method):
        exact = kept(seed, people, method)
        return exact if len(people) == 8 and people.start % 8 == 0 else exact + 1e-9

    monkeypatch.setattr(with_flow, "_drawn", rough)
    assert torch.equal(with_flow.sample(17, 3, method, first=2).vectors, torch.cat(blocks)[2:19])
    monkeypatch.setattr(room, "_SLACK", 0.0)
    assert not torch.equal(with_flow.sample(17, 3, method, first=2).vectors, torch.cat(blocks)[2:19])


@pytest.mark.parametrize("tile", [4096, 4])
def test_nearest(sampler, monkeypatch, tile):
    monkeypatch.setattr("idgen.sampling.sampler._TILE", tile)
    vectors = sampler.sample(7, 1).vectors
    cosine, index = sampler.nearest(vectors * 3)
    real = people().double().numpy()
    table = vectors.double().numpy() @ (real / np.linalg.norm(real, axis=1, keepdims=True)).T
    assert index.tolist() == table.argmax(1).tolist()
    np.testing.assert_allclose(cosine, table.max(1), atol=2e-3)
    cosine, index = sampler.nearest(people()[[5, 300]])
    assert index.tolist() == [5, 300] and (cosine > 0.9999).all()


def test_folder_round_trip(sampler, with_flow, tmp_path):
    for one in (sampler, with_flow):
        one.save_pretrained(tmp_path / one.method)
        again = IdentitySampler.from_pretrained(tmp_path / one.method)
        assert torch.equal(again.sample(5, 9).vectors, one.sample(5, 9).vectors)
        assert again.space == "a" and again.dim == DIM and again.people.dtype == torch.int8
        assert again.method == one.method and torch.equal(again.people, one.people)


def test_folder_refused(sampler, tmp_path):
    def refused(says):
        with pytest.raises(InputError, match=says):
            IdentitySampler.from_pretrained(tmp_path)

    sampler.save_pretrained(tmp_path)
    file = tmp_path / "sampler.safetensors"
    right = load_file(file)
    for wrong in ({name: right[name] for name in right if name != "people"}, right | {"extra": torch.ones(1)}):
        save_file(wrong, file)
        refused("has the tensors")
    for name in right:
        save_file(right | {name: torch.ones(3)}, file)
        refused("do not fit together")
    file.write_bytes(b"junk")
    refused("cut short")
    (tmp_path / "config.json").write_text('{"other": 1}')
    refused("embedding space")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        *(((n, 0), "number of people to sample is a whole number from 1 to") for n in (0, 1.5, "3", True, None, 10**7)),
        ((1, "x"), r"seed is a whole number .* got 'x'"),
        ((1, 0, "uniform"), "choose one of flow, gaussian, sphere"),
        ((1, 0, None, -1), "number of the first person is a whole number"),
        ((1, 0, "flow"), "without a flow"),
    ],
)
def test_refuses(sampler, arguments, says):
    with pytest.raises(InputError, match=says):
        sampler.sample(*arguments)


@pytest.mark.parametrize(
    ("vectors", "options", "says"),
    [
        (people()[:2], {}, "at least 3 people"),
        (people()[0], {}, "at least 3 people"),
        *((people().index_fill(0, torch.tensor(3), x), {}, r"1 broken vectors .*number 3") for x in (0.0, torch.nan)),
        *((people(), {"components": count}, f"1 to {DIM} components") for count in (0, DIM + 1)),
    ],
)
def test_fit_refused(vectors, options, says):
    with pytest.raises(InputError, match=says):
        IdentitySampler.fit(vectors, "a", **options)
