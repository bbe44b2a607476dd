"""Networks of other projects that label or judge: MediaPipe, ONNX models, InsightFace."""
