"""How each operator of torch is written as nodes of ONNX."""

from . import arithmetic, layers, sampling, shapes  # noqa: F401  (they enter their operators into OPERATORS)
from .registry import CONSTANT, IGNORED, OPERATORS, TYPES

__all__ = ["CONSTANT", "IGNORED", "OPERATORS", "TYPES"]
