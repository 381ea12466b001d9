"""OpenVINO's forward pass of an exported model: prints images a second. `against.py` runs it."""
import sys

# This file has the name of the package that it runs.
sys.path.append(sys.path.pop(0))
import numpy as np
import openvino
from common import options, report

a = options()
core = openvino.Core()
model = core.read_model(a.onnx)
model.reshape([a.batch, 3, 224, 224])
settings = {"INFERENCE_NUM_THREADS": a.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": a.precision}
request = core.compile_model(model, "CPU", settings).create_infer_request()
images = np.random.default_rng(1).standard_normal((a.batch, 3, 224, 224), dtype=np.float32)
report(a, openvino.__version__, lambda: request.infer([images]))
