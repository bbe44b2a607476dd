"""Networks of other projects that label or judge: MediaPipe, ONNX models, InsightFace."""

__all__ = [
    "insightface_models",
    "mediapipe_face",
    "onnx_features",
    "onnx_models",
]
