"""Every command in this process with tiny settings: results, JSON, exit codes, error lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pydiff import io
from pydiff.cli import doctor, gradcheck, presets
from pydiff.cli.main import COMMANDS, main
from pydiff.io.images import load_image, read_metadata
from pydiff.pipelines import Pipeline

TINY = {
    "block_out_channels": [8, 8],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
TRAIN = [
    "train",
    "--steps",
    "4",
    "--batch-size",
    "4",
    "--log-every",
    "2",
    "--checkpoint-every",
    "2",
]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    """Small models under the usual name, and a working folder of its own."""
    monkeypatch.setitem(presets.PRESETS, "small", TINY)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(tmp_path):
    """A folder with an untrained class-conditional pipeline."""
    from pydiff import schedules
    from pydiff.nn import UNet2D

    config = presets.unet_config("small", (8, 8, 1), 10)
    pipeline = Pipeline(UNet2D(**config), schedules.cosine(40), spacing="trailing")
    pipeline.save_pretrained(tmp_path / "model")
    return "model"


def run_json(capsys, *arguments, code=0):
    """The one JSON object that the command prints to stdout."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


# ---- all commands


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert "examples:" in text and "--json" in text and "--debug" in text


def test_no_command_and_unknown_options_are_usage_errors(capsys):
    assert main([]) == 2
    for arguments in (["paint"], ["sample", "--nmu", "3"], ["sample", "--num", "three"], ["train"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


def test_version(capsys):
    import pydiff

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pydiff {pydiff.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sample", "absent"], "absent: no such folder"),
        (["sample", "model", "--num", "0"], "num_images = 0"),
        (["sample", "model", "--steps", "2", "--sampler", "euler_b"], "euler_b"),
        (["sample", "model", "--label", "10"], "class_labels = 10"),
        (["sample", "model", "--out", "/dev/null/x", "--steps", "1"], "/dev/null"),
        (["sample", "model", "--threads", "0"], "threads is 0"),
        (["train", "--out", "run", "--data", "absent"], "absent"),
        (["train", "--out", "run", "--model", "huge"], "huge"),
        (["train", "--out", "run", "--lr", "nan"], "lr = nan"),
        (["train", "--out", "run", "--resume"], "train.json"),
        (["gradcheck", "conv9d"], "conv9d"),
        (["bench", "--model", "huge"], "huge"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line_and_exit_code_1(capsys, model, arguments, named):
    assert main(arguments) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith(f"pydiff {arguments[0]}: error: ") and named in lines[-1]
    assert not any("Traceback" in line for line in lines)
    assert run_json(capsys, *arguments, code=1)["error"]["message"] == lines[-1]


def test_debug_shows_the_traceback(capsys):
    assert main(["sample", "absent", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


# ---- sample


def test_sample_writes_pngs_that_say_where_they_come_from(capsys, model):
    assert main(["sample", model, "--num", "3", "--steps", "2", "--seed", "5", "--eta", "1"]) == 0
    files = sorted(Path("samples").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    text = read_metadata(files[2])
    expected = {"seed": "5", "index": "2", "steps": "2", "sampler": "ddim(eta=1)"}
    assert {key: text[key] for key in expected} == expected
    assert text["model_hash"] == Pipeline.from_pretrained(model).model_hash()


def test_sample_draws_what_the_pipeline_draws(capsys, model):
    result = run_json(capsys, "sample", model, "--num", 2, "--steps", 3, "--label", 7, "--scale", 1)
    expected = Pipeline.from_pretrained(model)(2, 3, class_labels=7)
    drawn = np.stack([load_image(file, channels=1) for file in result["files"]])
    np.testing.assert_allclose(drawn, expected, atol=0.51 / 255)
    assert result["label"] == 7 and result["images_per_second"] > 0


def test_sample_first_continues_the_numbering(capsys, model):
    main(["sample", model, "--num", "3", "--steps", "2", "--scale", "1", "--out", "a"])
    main(
        [
            "sample",
            model,
            "--num",
            "1",
            "--first",
            "2",
            "--steps",
            "2",
            "--scale",
            "1",
            "--out",
            "b",
        ]
    )
    assert Path("a/00002.png").read_bytes() == Path("b/00002.png").read_bytes()


def test_sample_grid_and_animation(capsys, model):
    from PIL import Image

    result = run_json(
        capsys, "sample", model, "--num", 4, "--steps", 3, "--grid", "grid.png",
        "--animate", "run.gif", "--batch-size", 2,
    )  # fmt: skip
    assert result["files"] == ["grid.png", "run.gif"]
    with Image.open("run.gif") as animation:
        assert animation.n_frames == 3
    assert read_metadata("grid.png")["seed"] == "0"


# ---- train


def test_train_makes_a_folder_that_sample_reads(capsys):
    result = run_json(capsys, *TRAIN, "--labels", "--out", "run", "--sample-every", 2)
    assert result["steps"] == 4
    assert {"metrics.jsonl", "model_index.json", "train.json"} <= set(os.listdir("run"))
    assert sorted(os.listdir("run/samples")) == ["step-000002.png", "step-000004.png"]
    again = run_json(capsys, "sample", "run", "--steps", 2, "--num", 1)
    assert again["model_hash"] == result["model_hash"]


def test_train_resumes_bitwise_and_refuses_what_would_not_be(capsys):
    straight = run_json(capsys, *TRAIN, "--out", "straight", "--seed", 3, "--horizontal-flip")
    run_json(capsys, *TRAIN, "--out", "run", "--seed", 3, "--horizontal-flip", "--steps", 2)
    resumed = run_json(capsys, "train", "--resume", "--out", "run", "--steps", 4)
    assert resumed["model_hash"] == straight["model_hash"]
    assert main(["train", "--resume", "--out", "run", "--lr", "0.5"]) == 1
    assert "lr: the checkpoint has" in capsys.readouterr().err
    assert main([*TRAIN, "--out", "run"]) == 1
    assert "earlier run" in capsys.readouterr().err
    assert main([*TRAIN, "--out", "run", "--overwrite"]) == 0


def test_train_on_a_folder_and_on_npz(capsys):
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        images = rng.random((6, 12, 10, 3)).astype(np.float32)
        io.save_images(images, f"pictures/{name}")
    common = [*TRAIN, "--steps", "1"]
    run_json(capsys, *common, "--data", "pictures", "--size", 8, "--labels", "--out", "a")
    assert json.loads(Path("a/unet/config.json").read_text())["num_class_embeds"] == 2
    grey = ["--channels", "1", "--horizontal-flip"]
    run_json(capsys, *common, "--data", "pictures", "--size", 8, *grey, "--out", "b")
    images = rng.integers(0, 255, (9, 8, 8, 3)).astype(np.uint8)
    np.savez("set.npz", images=images, labels=np.arange(9) % 3)
    run_json(capsys, *common, "--data", "set.npz", "--labels", "--out", "c")
    assert json.loads(Path("c/unet/config.json").read_text())["num_class_embeds"] == 3


def test_train_with_a_configuration_of_ones_own(capsys):
    Path("unet.json").write_text(
        json.dumps({**TINY, "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 16]})
    )
    run_json(capsys, *TRAIN, "--steps", 1, "--config", "unet.json", "--out", "run")
    assert json.loads(Path("run/unet/config.json").read_text())["block_out_channels"] == [8, 16]


@pytest.mark.parametrize(
    "options",
    [
        "--objective hybrid --times resampled",
        "--schedule flow --prediction flow --times logit_normal",
        "--schedule edm --prediction sample --sigma-data 0.5 --loss-weight edm --times lognormal",
    ],
)
def test_train_with_other_losses_and_schedules(capsys, options):
    run_json(capsys, *TRAIN, *options.split(), "--out", "run", "--sample-every", 4)
    run_json(capsys, "train", "--resume", "--out", "run", "--steps", 5)
    run_json(capsys, "sample", "run", "--steps", 2, "--num", 1)


def test_train_refuses_what_it_could_not_save(capsys):
    assert main([*TRAIN, "--schedule", "flow", "--out", "run"]) == 1
    assert "no scheduler of diffusers is for Flow" in capsys.readouterr().err
    assert main([*TRAIN, "--schedule", "often", "--out", "run"]) == 1
    assert "squaredcos_cap_v2" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="needs SIGINT")
def test_ctrl_c_saves_exits_130_and_resumes(tmp_path):
    Path("unet.json").write_text(json.dumps({**TINY, "in_channels": 1, "out_channels": 1}))
    options = "--config unet.json --batch-size 2 --steps 100000 --log-every 1 --out run"
    command = [sys.executable, "-m", "pydiff", "train", *options.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 60
    while not Path("run/metrics.jsonl").exists() or not Path("run/metrics.jsonl").read_text():
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    errors = child.communicate(timeout=60)[1]
    assert child.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "pydiff train: interrupted"
    assert "Traceback" not in errors and "pydiff train --resume --out run" in errors
    (checkpoint,) = Path("run/checkpoints").iterdir()
    done = int(checkpoint.name.removeprefix("step-"))
    assert main(["train", "--resume", "--out", "run", "--steps", str(done + 1)]) == 0


# ---- demo, bench, gradcheck, doctor


def test_demo_writes_what_it_promises(capsys, monkeypatch):
    from pydiff.cli import demo

    monkeypatch.setattr(demo, "GRID", 4)
    monkeypatch.setattr(demo, "BATCH", 4)
    monkeypatch.setattr(demo, "DDIM_STEPS", 3)
    monkeypatch.setattr(demo, "DDPM_STEPS", 3)
    result = run_json(capsys, "demo", "--steps", 12)
    for name in ("samples_ddim.png", "samples_ddpm.png", "denoising.gif", "model_index.json"):
        assert (Path("pydiff-demo") / name).stat().st_size > 0
    assert result["steps"] == 12 and result["out"] == "pydiff-demo"
    assert os.listdir("pydiff-demo/checkpoints") == ["step-000012"]
    assert main(["demo", "--steps", "12", "--out", "pydiff-demo"]) == 0
    assert "pydiff-demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["toy", "--sde", "flow"], ["toy", "--sampler", "ode"], ["ncsn"]], ids=" ".join
)
def test_demos_of_points_write_what_they_promise(capsys, monkeypatch, arguments):
    from pydiff.cli import demo_toy

    pytest.importorskip("matplotlib")
    for name, value in (("POINTS", 300), ("DRAWN", 100), ("LEVELS", 3), ("SAMPLING_STEPS", 3)):
        monkeypatch.setattr(demo_toy, name, value)
    result = run_json(capsys, "demo", *arguments, "--data", "moons", "--steps", 3, "--out", "run")
    names = ["particles.gif", "density.png", "score.png", "paths.png"]
    assert result["files"] == [f"run/{name}" for name in names]
    assert all(Path(file).stat().st_size > 0 for file in result["files"])
    assert result["steps"] == 3 and result["wasserstein"] > 0 and result["loss"] > 0
    monkeypatch.setattr("pydiff.io.figure.plotting_available", lambda: False)
    assert main(["demo", *arguments, "--steps", "2"]) == 0
    output = capsys.readouterr()
    assert "matplotlib is missing" in output.err and f"pydiff-{arguments[0]}" in output.out


def test_demo_of_the_geometric_schedule(capsys, monkeypatch):
    from pydiff.cli import demo_geometric

    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo_geometric, "B", (0.001, 0.1, 0.99))
    result = run_json(capsys, "demo", "geometric", "--steps", 30, "--out", "run")
    assert result["files"] == ["run/geometric.png"]
    few, some, many = result["cells"][:3]
    assert few["terminal_snr"] > some["terminal_snr"] > many["terminal_snr"]
    # signal left at the end biases samples that start from noise; too few levels bias all
    assert few["from_noise"] > 3 * few["from_prior"]
    assert min(many["from_noise"], many["from_prior"]) > 3 * some["from_noise"]
    assert main(["demo", "geometric", "--steps", "3"]) == 1
    assert "shortest chain" in capsys.readouterr().err


def test_bench_measures(capsys, model):
    for name in ("small", model):
        result = run_json(
            capsys, "bench", "--model", name, "--batch", 2, "--steps", 2, "--repeats", 1
        )
        assert result["evaluation_seconds"] > 0 and result["images_per_second"] > 0
        assert result["batch"] == 2 and result["repeats"] == 1


def test_bench_grades_samplers_and_writes_a_page(capsys):
    pytest.importorskip("matplotlib")
    command = ["bench", "samplers", "--quick", "--only", "ddim", "ddpm"]
    result = run_json(capsys, *command, "--markdown", "page.md", "--picture", "page.png")
    assert result["passed"] and [row["name"] for row in result["samplers"]] == ["ddim", "ddpm"]
    page = Path("page.md").read_text()
    assert "| `ddim` | 1 | 1.00 | 1 | no |" in page and "page.png" in page and "arXiv" in page
    assert Path("page.png").stat().st_size > 0
    assert main(command) == 0
    assert "ddpm" in capsys.readouterr().out
    assert main(["bench", "samplers", "--only", "euler_b"]) == 1
    assert "euler_b" in capsys.readouterr().err


def test_gradcheck_passes_and_prints_a_table(capsys):
    result = run_json(capsys, "gradcheck", "--shapes", 1, "silu", "linear")
    assert result["passed"] and [row["op"] for row in result["ops"]] == ["silu", "linear"]
    assert main(["gradcheck", "--shapes", "1", "silu"]) == 0
    assert "all gradients agree" in capsys.readouterr().out


def test_gradcheck_fails_and_names_the_worst_element(capsys, monkeypatch):
    from pydiff.backend import registry

    right = registry.active().silu_backward
    monkeypatch.setattr(registry.active(), "silu_backward", lambda *args: 1.001 * right(*args))
    assert main(["gradcheck", "--shapes", "1", "silu"]) == 1
    output = capsys.readouterr().out
    assert "FAILED input 0[" in output and "analytic" in output and "FAILED: silu" in output


def test_doctor_reports_versions_and_agreement(capsys):
    pytest.importorskip("pydiff._native")
    result = run_json(capsys, "doctor", "--shapes", 1)
    assert result["passed"] and result["versions"]["numpy"] == np.__version__
    assert result["machine"]["threads"] >= 1
    assert [entry["isa"] for entry in result["agreement"]][-1] == result["native"][
        "instruction set"
    ]


def test_doctor_without_native_kernels_fails_plainly(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_native", lambda: None)
    assert main(["doctor"]) == 1
    assert "MISSING" in capsys.readouterr().out


def test_doctor_finds_a_wrong_kernel(capsys, monkeypatch):
    pytest.importorskip("pydiff._native")
    from pydiff.backend import cpu

    right = cpu.silu
    monkeypatch.setattr(cpu, "silu", lambda x: right(x) * x.dtype.type(1.0001))
    result = run_json(capsys, "doctor", "--shapes", 1, code=1)
    assert all(entry["failed"] == ["silu"] for entry in result["agreement"])


def test_the_table_of_gradcheck_is_the_case_table():
    from pydiff.testing.cases import GRADIENT_CASES

    assert [case.name for case in gradcheck._chosen([])] == [case.name for case in GRADIENT_CASES]
