"""The network outside torch: ONNX files, and ONNX Runtime or OpenVINO in torch's place.

Both are quicker than torch on many CPUs and need less memory. Everything around the network
stays the same: normalisation and padding are `Model`'s, the ONNX graph is the network and the
sigmoid behind it.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..core.errors import ModelError, reason

OPSET = 17  # of 2022: read by every runtime in use, and all that the networks need


@dataclass(frozen=True)
class Runtime:
    """A program that runs networks: what it is called, and how it is started."""

    title: str
    extra: str  # of napari-labdct, that installs it
    modules: tuple[str, ...]
    start: Callable[[bytes, int], Callable[[torch.Tensor], torch.Tensor]]

    @property
    def installed(self) -> bool:
        """Whether all it needs is there; nothing is imported to find out."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)


def available_runtimes() -> dict[str, str]:
    """The runtimes this computer has beside torch, as ``{name: description}``."""
    return {name: f"{r.title} on the CPU" for name, r in RUNTIMES.items() if r.installed}


def start_runtime(
    name: str, network: nn.Module, channels: int, threads: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    """A network on another runtime.

    Parameters
    ----------
    name : str
        One of `RUNTIMES`.
    network : Module
        With a probability as its output, on the CPU.
    channels : int
        Of its input.
    threads : int
        Cores to use.

    Returns
    -------
    callable
        As `network`.

    Raises
    ------
    ModelError
        The runtime is not installed, or cannot run the network.
    """
    runtime = RUNTIMES[name]
    if not runtime.installed:
        raise ModelError(
            f'{runtime.title} is not installed; add it with "pip install '
            f"'napari-labdct[{runtime.extra}]'\", or choose the device 'cpu'."
        )
    try:
        return runtime.start(to_onnx(network, channels), threads)
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            f"{runtime.title} cannot run this network ({reason(error)}); choose the device 'cpu'."
        ) from error


def to_onnx(network: nn.Module, channels: int, metadata: dict[str, str] | None = None) -> bytes:
    """A network as the bytes of an ONNX file, for frames of any size.

    Parameters
    ----------
    network : Module
        On the CPU, in evaluation mode.
    channels : int
        Of its input.
    metadata : dict of str, optional
        Written into the file.

    Raises
    ------
    ModelError
        The package ``onnx`` is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ModelError(
            "Writing ONNX needs the package 'onnx'; add it with \"pip install "
            "'napari-labdct[onnx]'\"."
        )
    import onnx

    sizes = {0: "batch", 2: "rows", 3: "cols"}
    multiple = int(network.multiple)
    example = torch.zeros(1, channels, 2 * multiple, 3 * multiple)
    file = io.BytesIO()
    # The newer exporter takes 12 s for the same file, and one package more.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            file,
            input_names=["input"],
            output_names=["probability"],
            dynamic_axes={"input": sizes, "probability": sizes},
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_from_string(file.getvalue())
    onnx.helper.set_model_props(graph, metadata or {})
    return graph.SerializeToString()


def _start_onnxruntime(file: bytes, threads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    # Waiting threads sleep, so that the window and the rolling median get their share.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"input": x.contiguous().numpy()})[0])

    return run


def _start_openvino(file: bytes, threads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(file), "CPU", options)

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(compiled(x.contiguous().numpy())[0].copy())

    return run


RUNTIMES = {
    "onnxruntime": Runtime("ONNX Runtime", "onnx", ("onnx", "onnxruntime"), _start_onnxruntime),
    "openvino": Runtime("OpenVINO", "openvino", ("onnx", "openvino"), _start_openvino),
}
