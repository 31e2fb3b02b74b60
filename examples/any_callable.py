"""Sample a Python function and an ONNX Runtime session with the same line.

A Denoiser takes any callable (x, t) -> array. Here both predict the noise in x_t for data from
N(mean, std^2), one in NumPy, one as an ONNX graph that looks alpha and sigma up in tables; so they
draw the same points. Needs `pip install onnx onnxruntime`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pydiff

SCHEDULE = pydiff.schedules.linear(1000)
MEAN, STD = np.array([1.0, -2.0], np.float32), 0.5
TIMES = np.arange(1000)


def python_model(x: np.ndarray, t: int) -> np.ndarray:
    """E[eps | x_t] = sigma (x_t - alpha mean) / (alpha^2 std^2 + sigma^2)."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    return np.float32(sigma / (alpha**2 * STD**2 + sigma**2)) * (x - np.float32(alpha) * MEAN)


def onnx_model() -> Any:
    """The same as an ONNX Runtime session, wrapped as a callable."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    alpha, sigma = SCHEDULE.alpha(TIMES), SCHEDULE.sigma(TIMES)
    tables = {
        "shifts": alpha[:, None] * MEAN,
        "gains": sigma / (alpha**2 * STD**2 + sigma**2),
    }
    nodes = [
        helper.make_node("Gather", ["shifts", "t"], ["shift"]),
        helper.make_node("Gather", ["gains", "t"], ["gain"]),
        helper.make_node("Sub", ["x", "shift"], ["offset"]),
        helper.make_node("Mul", ["offset", "gain"], ["eps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "noise of one Gaussian",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("t", TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("eps", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tables.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda x, t: session.run(None, {"x": x, "t": np.array(t)})[0]


def main() -> dict[str, np.ndarray]:
    """Points drawn from each, (1000, 2) float32."""
    drawn = {}
    for name, model in (("a Python function", python_model), ("ONNX Runtime", onnx_model())):
        points = pydiff.sample(pydiff.Denoiser(model, SCHEDULE), (1000, 2), "heun", steps=50)
        print(f"{name:18} mean {points.mean(axis=0)}, std {points.std(axis=0)}")
        drawn[name] = points
    return drawn


if __name__ == "__main__":
    main()
