"""Tensors in the JSON of the Open Inference Protocol v2: as metadata declares them, and as answers hold them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepixel.errors import AnswerError
from onepixel.opening.endpoint.settings import EndpointError
from onepixel.printable import one_line

TYPES: dict[str, Any] = {"FP32": np.float32, "FP64": np.float64, "FP16": np.float16, "UINT8": np.uint8}
"""What images can be sent as."""


@dataclass(frozen=True)
class TensorMetadata:
    """One tensor as the endpoint's metadata declares it; None for open axes."""

    name: str
    datatype: str
    shape: tuple[int | None, ...]


def tensors(metadata: dict[str, Any], which: str) -> list[TensorMetadata]:
    """The declared inputs or outputs.

    Raises
    ------
    EndpointError
        If the metadata does not follow the protocol.
    """
    try:
        return [
            TensorMetadata(
                str(tensor["name"]),
                str(tensor["datatype"]),
                tuple(size if size > 0 else None for size in tensor["shape"]),
            )
            for tensor in metadata[which]
        ]
    except (KeyError, TypeError) as error:
        raise EndpointError(f"The endpoint's metadata does not declare its {which} as the protocol asks.") from error


def read_tensor(found: dict[str, Any], name: str) -> NDArray[np.floating]:
    """The named tensor of an inference response.

    Raises
    ------
    EndpointError
        If it is not there, or its data do not fit its shape.
    """
    try:
        tensor = next(tensor for tensor in found["outputs"] if tensor["name"] == name)
        if str(tensor["datatype"]) not in ("FP16", "FP32", "FP64"):
            raise AnswerError(f"The endpoint answers {one_line(tensor['datatype'], 20)}, not numbers per class.")
        shape = tuple(int(size) for size in tensor["shape"])
        return np.asarray(tensor["data"], dtype=np.float64).reshape(shape)
    except AnswerError:
        raise
    except (StopIteration, KeyError, TypeError, ValueError, MemoryError) as error:
        raise EndpointError("The endpoint's answer does not follow the Open Inference Protocol v2.") from error
