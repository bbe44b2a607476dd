"""The same edits without torch: graphs for onnxruntime, written by `export`, run by `OnnxEditor`.

    ganime-age export graphs --format onnx

and then, in Python:

    from ganime_age.onnx import OnnxEditor

    OnnxEditor("graphs").edit("portrait.jpg", age=70).save("older.png")
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .editor import OnnxEditor
    from .exporter import export
else:
    __getattr__ = exports(__name__, {"OnnxEditor": ".editor", "export": ".exporter"})

__all__ = ["OnnxEditor", "export"]
