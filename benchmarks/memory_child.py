"""One engine draws the pictures of `memory.py` in this process, and its peak memory is printed.

    python memory_child.py ENGINE FILE FOLDER THREADS

It imports nothing but the engine: no other module of the benchmarks either.
"""

import resource
import sys
from pathlib import Path

sys.path.pop(0)  # this folder, whose modules nobody here may import by accident

import numpy as np


def draw(model, folder):
    """DDIM (arXiv 2010.02502, eq. 12) with x_0 clipped, as pydiff's pipeline has it, in place."""
    run = np.load(folder / "run.npz")
    x = run["x"]
    for i, t in enumerate(run["t"]):
        eps = model(x, np.full(len(x), t))
        x0 = (x - run["sigma"][i] * eps) / run["alpha"][i]
        np.clip(x0, -1, 1, out=x0)
        x0 *= run["alpha"][i + 1]
        x0 += run["sigma"][i + 1] * eps
        x = x0
    return np.clip(x * 0.5 + 0.5, 0, 1).transpose(0, 2, 3, 1)


def pydiff(file, folder, threads):
    import pydiff

    run = np.load(folder / "run.npz")
    pydiff.set_num_threads(threads)
    return pydiff.Pipeline.from_pretrained(file)(len(run["x"]), len(run["t"]), "ddim", seed=0)


def onnx_runtime(file, folder, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return draw(lambda x, t: session.run(None, {"x": x, "t": t})[0], folder)


def openvino(file, folder, threads):
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(file, "CPU", options).create_infer_request()
    return draw(lambda x, t: request.infer({"x": x, "t": t}, share_outputs=True)["y"], folder)


def torch(file, folder, threads):
    import torch

    torch.set_num_threads(threads)
    return _draw_with_torch(torch, torch.jit.load(file), folder)


def diffusers(file, folder, threads):
    import torch
    from diffusers import UNet2DModel

    torch.set_num_threads(threads)
    model = UNet2DModel.from_pretrained(file)
    return _draw_with_torch(torch, lambda x, t: model(x, t, return_dict=False)[0], folder)


def _draw_with_torch(torch, model, folder):
    with torch.inference_mode():
        return draw(lambda x, t: model(torch.from_numpy(x), torch.from_numpy(t)).numpy(), folder)


ENGINES = (pydiff, onnx_runtime, openvino, torch, diffusers)


def peak():
    """Bytes. VmHWM, as ru_maxrss of a child can be what its parent held before the exec."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    name, file, folder, threads = sys.argv[1:]
    engine = next(engine for engine in ENGINES if engine.__name__ == name)
    pictures = engine(file, Path(folder), int(threads))
    print(peak())
    np.save(Path(folder) / f"{name}.npy", pictures)
