from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from small_unet import UNET

import pydiff
from pydiff import schedules
from pydiff.errors import CheckpointError, ConfigError, PydiffError
from pydiff.nn import UNet2D
from pydiff.pipelines import Pipeline, digits
from pydiff.samplers import DDPM


def make(schedule=None, unet=None, **settings):
    model = UNet2D(seed=2, **{**UNET, **(unet or {})})
    # a fresh U-Net is nearly an identity; larger weights make its part of the result visible
    for _, parameter in model.named_parameters():
        parameter.data = parameter.data * 1.5
    return Pipeline(model, schedule or schedules.cosine(40), **{"spacing": "trailing", **settings})


@pytest.fixture(scope="module")
def labelled():
    return make(unet={"num_class_embeds": 4})


def test_round_trip_samples_the_same_images(tmp_path, labelled):
    labelled.save_pretrained(tmp_path)
    again = Pipeline.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again(3, 4, seed=1), labelled(3, 4, seed=1))
    assert again.model_hash() == labelled.model_hash()
    assert again.scheduler.to_config() == labelled.scheduler.to_config()


def test_images_are_float32_in_unit_range(labelled):
    images = labelled(5, 3)
    assert images.shape == (5, 8, 8, 1) and images.dtype == np.float32
    assert images.min() >= 0.0 and images.max() <= 1.0


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_image_i_is_the_same_in_any_batch(labelled, sampler):
    together = labelled(5, 4, sampler, seed=3)
    for batch_size in (1, 2, 3):
        apart = labelled(5, 4, sampler, seed=3, batch_size=batch_size)
        np.testing.assert_allclose(apart, together, atol=1e-5)
    alone = labelled(1, 4, sampler, seed=3, first_image=4)
    np.testing.assert_allclose(alone[0], together[4], atol=1e-5)


def test_labels_default_to_counting_by_image_number(labelled):
    counted = labelled(6, 3, class_labels=[0, 1, 2, 3, 0, 1])
    np.testing.assert_array_equal(labelled(6, 3), counted)
    np.testing.assert_allclose(labelled(2, 3, first_image=3), counted[3:5], atol=1e-5)
    assert np.abs(labelled(1, 3, class_labels=1) - labelled(1, 3, class_labels=2)).max() > 1e-4


def test_the_variance_of_ddpm_is_that_of_the_scheduler():
    large = make(variance="fixed_large")
    np.testing.assert_array_equal(large(2, 5, "ddpm"), large(2, 5, DDPM("fixed_large")))
    assert np.abs(large(2, 5, "ddpm") - large(2, 5, DDPM("fixed_small"))).max() > 1e-3


def test_eta_is_passed_to_ddim(labelled):
    assert np.abs(labelled(1, 4, eta=1.0) - labelled(1, 4)).max() > 1e-3
    with pytest.raises(ConfigError, match="eta"):
        labelled(1, 4, "ddpm", eta=0.5)


def test_grid_follows_the_scheduler():
    assert make(spacing="leading", steps_offset=1).grid(4) == [31, 21, 11, 1, -1]
    assert make().grid(4) == [39, 29, 19, 9, -1]
    ddim = {"spacing": "leading", "set_alpha_to_one": False, "class_name": "DDIMScheduler"}
    assert make(**ddim, steps_offset=1).grid(4) == [31, 21, 11, 1, 0]
    # asked at 0 as well, which is also the end
    assert make(**ddim).grid(4) == pytest.approx([30, 20, 10, 0, 0], abs=1e-5)
    assert make(**ddim).grid(4, "ddpm") == pytest.approx([30, 20, 10, 0, -1], abs=1e-5)


def test_callback_sees_each_step_and_can_stop(labelled):
    seen = []
    labelled(2, 4, callback=lambda step, t, x, x0: seen.append((step, t, x.shape)))
    assert [entry[0] for entry in seen] == [0, 1, 2, 3]
    images = labelled(6, 4, callback=lambda step, t, x, x0: step < 1, batch_size=2)
    assert images.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_images": 0}, {"num_images": True}, {"num_images": 2**31}, {"batch_size": 0},
        {"num_inference_steps": 0}, {"num_inference_steps": 41}, {"sampler": "euler_b"},
        {"class_labels": 4}, {"class_labels": -1}, {"class_labels": [0, 1]},
        {"class_labels": 0.5}, {"eta": 2.0}, {"seed": -1}, {"seed": 2**64},
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments_are_refused(labelled, arguments):
    with pytest.raises(PydiffError):
        labelled(**{"num_images": 1, "num_inference_steps": 2, **arguments})


def test_labels_for_a_model_without_classes_are_refused():
    with pytest.raises(ConfigError, match="takes none"):
        make()(1, 2, class_labels=0)


# ---- folders


@pytest.fixture
def folder(tmp_path):
    make().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_old_flat_layouts_load(folder, tmp_path):
    expected = Pipeline.from_pretrained(folder)(1, 2)
    flat = tmp_path / "flat"
    flat.mkdir()
    for part in ("unet", "scheduler"):
        for file in (folder / part).iterdir():
            shutil.copy(file, flat)
    np.testing.assert_array_equal(Pipeline.from_pretrained(flat)(1, 2), expected)
    shutil.copy(folder / "model_index.json", flat)
    np.testing.assert_array_equal(Pipeline.from_pretrained(flat)(1, 2), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "StableDiffusionPipeline"}, {"_class_name": None},
        {"unet": ["diffusers", "UNet2DConditionModel"]}, {"unet": ["os", "system"]},
        {"unet": "../../etc"}, {"scheduler": ["diffusers", "VQDiffusionScheduler"]},
        {"scheduler": ["pydiff", "DDPMScheduler"]}, {"vae": ["diffusers", "AutoencoderKL"]},
        {"../outside": ["diffusers", "UNet2DModel"]},
    ],
    ids=str,
)  # fmt: skip
def test_unknown_classes_and_parts_are_refused(folder, changes):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **changes}))
    with pytest.raises(ConfigError, match=r"model_index\.json"):
        Pipeline.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 10**5, b'{"a": NaN}'])
@pytest.mark.parametrize(
    "file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
)
def test_broken_json_is_refused(folder, file, content):
    (folder / file).write_bytes(content)
    with pytest.raises(ConfigError, match=file.rpartition("/")[2]):
        Pipeline.from_pretrained(folder)


def test_missing_pieces_are_named(folder, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        Pipeline.from_pretrained(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"neither model_index\.json nor config\.json"):
        Pipeline.from_pretrained(tmp_path)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        Pipeline.from_pretrained(folder)


# ---- diffusers


@pytest.mark.peers
@pytest.mark.parametrize("name", ["DDPM", "DDIM"])
def test_diffusers_loads_what_pydiff_writes_and_draws_the_same(tmp_path, name):
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    pipeline = make(schedules.linear(1000), class_name=f"{name}Scheduler")
    pipeline.save_pretrained(tmp_path)
    peer = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    assert type(peer).__name__ == f"{name}Pipeline"
    drawn = Pipeline.from_pretrained(tmp_path)
    x = pydiff.random.normal(0, (2, 8, 8, 1))
    with torch.no_grad():
        expected = peer.unet(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), 500).sample
    ours = drawn.model(x, 500).numpy().transpose(0, 3, 1, 2)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-4 * np.abs(expected.numpy()).max())


@pytest.mark.peers
@pytest.mark.parametrize("set_alpha_to_one", [True, False])
def test_a_pipeline_that_diffusers_wrote_draws_the_same_images(tmp_path, set_alpha_to_one):
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**UNET)
    scheduler = diffusers.DDIMScheduler(set_alpha_to_one=set_alpha_to_one, steps_offset=1)
    diffusers.DDIMPipeline(unet, scheduler).save_pretrained(tmp_path)
    pipeline = Pipeline.from_pretrained(tmp_path)
    x = pydiff.random.normal(7, (2, 8, 8, 1), stream="init")
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    scheduler.set_timesteps(20)
    with torch.no_grad():
        for t in scheduler.timesteps:
            image = scheduler.step(unet(image, t).sample, t, image).prev_sample
    expected = (image / 2 + 0.5).clamp(0, 1).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(pipeline(2, 20, seed=7), expected, atol=1e-4)


SCHEDULERS = (
    "EulerDiscrete",
    "EulerAncestralDiscrete",
    "HeunDiscrete",
    "DPMSolverMultistep",
    "LCM",
)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_folder_is_sampled_as_its_scheduler_says(tmp_path, name):
    pipeline = make(schedules.linear(1000), prediction="sample", class_name=f"{name}Scheduler")
    pipeline.save_pretrained(tmp_path)
    again = Pipeline.from_pretrained(tmp_path)
    assert again.scheduler.class_name == f"{name}Scheduler"
    assert again.sampler() == pipeline.scheduler.sampler
    x = pydiff.random.normal(5, (2, 8, 8, 1), stream="init")
    expected = pipeline.scheduler.sample(pipeline.model, x, 6, seed=5)
    images = again(2, 6, seed=5)
    np.testing.assert_allclose(images, (expected / 2 + 0.5).clip(0, 1), atol=1e-5)
    assert 0.01 < images.std() < 0.45  # neither grey nor cut off to black and white


def test_a_scheduler_object_has_its_own_settings():
    scheduler = pydiff.schedulers.from_config({"_class_name": "EulerDiscreteScheduler"})
    model = make().model
    assert Pipeline(model, scheduler).grid(3) == scheduler.grid(3)
    with pytest.raises(ConfigError, match="spacing"):
        Pipeline(model, scheduler, spacing="trailing")


# ---- the built-in model


def test_builtin_digits_load_and_are_small():
    pipeline = digits()
    assert pipeline.image_shape == (8, 8, 1) and pipeline.num_classes == 10
    images = pipeline(20, 30, class_labels=np.arange(20) % 10)
    assert 0.2 < images.mean() < 0.5 and images.std() > 0.3  # strokes on black, not noise or grey


def test_threads_share_one_pipeline(labelled):
    from concurrent.futures import ThreadPoolExecutor

    jobs = [(seed, sampler) for seed in range(6) for sampler in ("ddim", "ddpm")]
    alone = [labelled(2, 4, sampler, seed=seed) for seed, sampler in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: labelled(2, 4, job[1], seed=job[0]), jobs))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)
