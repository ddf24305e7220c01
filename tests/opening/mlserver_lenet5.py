"""The model that MLServer serves in a test: a LeNet-5 through ONNX Runtime, which notes every image it is asked.

Runs in MLServer's own environment, which has no onepixel and no torch.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class LeNet5(MLModel):
    async def load(self) -> bool:
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        self.asked = Path(self.settings.parameters.extra["asked"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        answers = self.session.run(None, {"images": images})[0]
        with self.asked.open("a") as file:
            for image in images:
                file.write(json.dumps(hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest()) + "\n")
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("answers", answers)])
