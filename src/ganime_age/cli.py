"""The command line, `ganime-age edit | read | demo`: parse, call the editor, print; a failure is one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from pathlib import Path

from tqdm import tqdm

from .errors import BadInput, GanimeAgeError
from .photo import SUFFIXES
from .provenance import WRITERS, save_edited


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """A wrong command line is one line as well, exit 2."""
        self.exit(2, f"ganime-age: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 all well, 1 a bug, 2 bad input, 3 a missing or damaged model."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    except Exception as error:
        code, message = _explain(error, args.debug)
        _say(message)
        return code


def _explain(error: Exception, debug: bool) -> tuple[int, str]:
    """Exit code and sentence of an exception; with `debug` its traceback goes to stderr first."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, GanimeAgeError):
        return error.exit_code, str(error)
    return 1, f"a bug stopped this ({type(error).__name__}: {error}); add --debug for the traceback"


def run() -> None:
    """The console script."""
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="ganime-age", description="Edit the age and the expression of a face in a photo.")
    commands = parser.add_subparsers(required=True, metavar="edit | read | demo", parser_class=_Parser)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--weights", metavar="FOLDER_OR_REPO", help="weights to use instead of the embedded ones"
    )
    common.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    common.add_argument("--finder", default="embedded", help="embedded, or insightface:FOLDER with a pack")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for add in (_add_edit, _add_read, _add_demo):
        add(commands, common)
    return parser


def _add_edit(commands, common) -> None:
    edit = commands.add_parser("edit", parents=[common], help="edit one photo, or every photo of a folder")
    edit.add_argument("photo", metavar="PHOTO_OR_FOLDER")
    edit.add_argument("-o", "--output", required=True, metavar="OUT", help=f"{_endings()} file, or a folder")
    edit.add_argument("--age", metavar="YEARS", help="target age, 0 to 100")
    edit.add_argument(
        "--au", action="append", default=[], metavar="AU12=3", help="intensity 0 to 5, or a change: AU04=+2"
    )
    edit.add_argument("--method", default="ganimation_age")
    edit.add_argument("--strength", default="1", help="how far to go, 0 to 1.5 (default: 1)")
    edit.add_argument(
        "--face", default=0, type=int, metavar="N", help="which face, 0 is the largest (default: 0)"
    )
    edit.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    edit.set_defaults(run=_edit)


def _add_read(commands, common) -> None:
    read = commands.add_parser("read", parents=[common], help="measure every face of a photo")
    read.add_argument("photo", metavar="PHOTO")
    read.add_argument("--json", action="store_true", help="print JSON")
    read.set_defaults(run=_read)


def _add_demo(commands, common) -> None:
    demo = commands.add_parser("demo", parents=[common], help="edit a bundled photo into one contact sheet")
    demo.add_argument(
        "-o", "--output", default="ganime_age_demo.png", metavar="OUT", help=f"a {_endings()} file"
    )
    demo.set_defaults(run=_demo)


def _edit(args) -> int:
    from .edits import Edit

    if args.age is None and not args.au:
        raise BadInput("nothing is asked for; give --age, --au or both")
    Edit.of(args.age, args.au, strength=args.strength)
    source, output = Path(args.photo), Path(args.output)
    if source.is_dir():
        return _edit_folder(args, source, output)
    target = _target_file(source, output, args.overwrite)
    _edit_one(_editor(args), args, source, target)
    return 0


def _edit_folder(args, source: Path, output: Path) -> int:
    """Edit a folder's photos; a failing one is named and the rest goes on. The first failure's exit code."""
    photos = sorted(
        p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    )
    if not photos:
        raise BadInput(f"{source} holds no photos; give a folder with {_listed(SUFFIXES)} files")
    if output.suffix.lower() in SUFFIXES or output.is_file():
        raise BadInput(f"{source} is a folder but {output} is a file; give an output folder")
    if _same(source, output):
        raise BadInput("the output folder is the input folder; give another one")
    editor = _editor(args)
    editor.check_method(args.method)
    failures = []
    for photo in tqdm(photos, unit="photo", file=sys.stderr, disable=None):
        try:
            target = _free(output / _writable_name(photo.name), args.overwrite)
            _edit_one(editor, args, photo, target)
        except Exception as error:
            code, message = _explain(error, args.debug)
            _say(message if photo.name in message else f"{photo.name}: {message}")
            failures.append(code)
    if failures:
        _say(f"{len(failures)} of {len(photos)} photos failed")
    return failures[0] if failures else 0


def _edit_one(editor, args, source: Path, target: Path) -> None:
    result = editor.edit(source, args.age, args.au, args.method, args.strength, face=args.face)
    for warning in result.warnings:
        _say(f"{source.name}: {warning}")
    _write(result.image, target)
    tqdm.write(f"{target}  {_summary(result)}")


def _summary(result) -> str:
    before, after = result.source_reading, result.reading
    asked = "" if result.edit.age is None else f" (asked {result.edit.age:g})"
    parts = [f"age {before.age:.0f} -> {after.age:.0f}{asked}"]
    for code, value in result.asked_units().items():
        was, now = (reading.action_units[code] for reading in (before, after))
        parts.append(f"{code} {was:.1f} -> {now:.1f} (asked {value:g})")
    return "  ".join([*parts, f"identity {result.identity:.2f}", f"{result.seconds:.1f} s"])


def _read(args) -> int:
    readings = _editor(args).read(Path(args.photo))
    if args.json:
        print(json.dumps([reading.to_dict() for reading in readings], indent=2))
        return 0
    for i, reading in enumerate(readings):
        units = [f"{code} {value:.1f}" for code, value in reading.action_units.items() if value >= 0.5]
        age = f"age {reading.age:.0f} ± {reading.age_spread:.0f}"
        print(f"face {i}: {age}, yaw {reading.yaw:.0f}, {' '.join(units) or 'neutral'}")
    return 0


def _demo(args) -> int:
    from .sheet import demo_sheet

    target = _target_file(Path("astronaut.png"), Path(args.output), overwrite=True)
    sheet = demo_sheet(_editor(args), print)
    _write(sheet, target)
    print(f"The contact sheet is at {target.resolve()}")
    return 0


def _editor(args):
    from .editor import FaceEditor
    from .model import GanimeAge

    model = GanimeAge.from_pretrained(args.weights)
    return FaceEditor(model, args.device, _finder(args.finder, model))


def _finder(text: str, model):
    """None for the embedded finder, else InsightFace's with the pack in FOLDER (.../models/NAME)."""
    kind, _, folder = text.partition(":")
    if text == "embedded":
        return None
    if kind != "insightface":
        raise BadInput(f"unknown finder {text!r}; choose embedded or insightface:FOLDER")
    pack = Path(folder or "~/.insightface/models/buffalo_l").expanduser().absolute()
    if pack.parent.name != "models":
        raise BadInput(f"{pack} is no InsightFace pack; give its folder, which lies in a folder named models")
    from .alignment import EmbeddedFinder, InsightFaceFinder

    return InsightFaceFinder(pack.parent.parent, pack.name, EmbeddedFinder(model.finder).landmarks)


def _target_file(source: Path, output: Path, overwrite: bool) -> Path:
    """Where one photo's result goes: `output` itself, or the photo's name inside it when it is a folder."""
    if output.is_dir() or not output.suffix:
        output = output / _writable_name(source.name)
    if output.suffix.lower() not in WRITERS:
        raise BadInput(f"{output.name} cannot be written as {output.suffix}; choose {_endings()}")
    if _same(source, output):
        raise BadInput(f"the output is the input {source.name}; give another name")
    return _free(output, overwrite)


def _free(target: Path, overwrite: bool) -> Path:
    if target.exists() and not overwrite:
        raise BadInput(f"{target} exists; give another name or add --overwrite")
    return target


def _writable_name(name: str) -> str:
    return name if Path(name).suffix.lower() in WRITERS else f"{name}.png"


def _same(source: Path, output: Path) -> bool:
    return source.resolve() == output.resolve() or (
        source.exists() and output.exists() and source.samefile(output)
    )


def _write(image, target: Path) -> None:
    """Write whole or not at all: a temporary file beside the target takes its place at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{os.getpid()}.{target.name}")
        try:
            save_edited(image, temporary, target.suffix.lower())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(
            f"{target} cannot be written ({error.strerror or error}); choose another place"
        ) from None


def _say(text: str) -> None:
    tqdm.write(f"ganime-age: {text}", file=sys.stderr)


def _endings() -> str:
    return _listed([suffix for suffix in WRITERS if suffix != ".jpeg"])


def _listed(words) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


if __name__ == "__main__":
    run()
