"""ONNX Runtime's forward pass of an exported model: prints images a second. `against.py` runs it."""
import sys

# This file has the name of the package that it runs.
sys.path.append(sys.path.pop(0))
import numpy as np
import onnxruntime
from common import options, report

a = options()
session_options = onnxruntime.SessionOptions()
session_options.intra_op_num_threads = a.threads
session = onnxruntime.InferenceSession(a.onnx, session_options, providers=["CPUExecutionProvider"])
images = np.random.default_rng(1).standard_normal((a.batch, 3, 224, 224), dtype=np.float32)
name = session.get_inputs()[0].name
report(a, onnxruntime.__version__, lambda: session.run(None, {name: images}))
