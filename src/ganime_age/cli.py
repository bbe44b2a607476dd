"""The command line, `ganime-age COMMAND`: parse, call one function, print; a failure is one line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tqdm import tqdm

from .errors import BadInput, GanimeAgeError
from .hub import check_name, split_revision
from .photo import SUFFIXES
from .provenance import ENDINGS, WRITERS, write_edited
from .video import SUFFIXES as CLIP_SUFFIXES
from .video_writer import ENDINGS as CLIP_ENDINGS
from .video_writer import check_target

if TYPE_CHECKING:
    from .animation import Tell
    from .editor import EditResult, FaceEditor, Finder
    from .model import GanimeAge
    from .signing import Signer

    Commands = argparse._SubParsersAction["_Parser"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
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
    names = "edit | animate | read | verify | demo | convert | push"
    commands = parser.add_subparsers(required=True, metavar=names, parser_class=_Parser)
    common = _Parser(add_help=False)
    common.add_argument(
        "--weights", metavar="REPO_OR_FOLDER[@REVISION]", help="weights to use instead of the embedded ones"
    )
    common.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    common.add_argument("--finder", default="embedded", help="embedded, or insightface:FOLDER with a pack")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for add in (_add_edit, _add_animate, _add_read, _add_verify, _add_demo, _add_convert, _add_push):
        add(commands, common)
    return parser


def _add_edit(commands: Commands, common: _Parser) -> None:
    edit = commands.add_parser("edit", parents=[common], help="edit a photo, a folder of photos, or a video")
    edit.add_argument("photo", metavar="PHOTO_FOLDER_OR_VIDEO")
    edit.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help=f"{ENDINGS} file, a folder, or {CLIP_ENDINGS} of a video",
    )
    edit.add_argument("--age", metavar="YEARS", help="target age, 0 to 100")
    edit.add_argument(
        "--au", action="append", default=[], metavar="AU12=3", help="intensity 0 to 5, or a change: AU04=+2"
    )
    edit.add_argument(
        "--au-from", metavar="PHOTO", help="take the expression, not the pose, of this photo's face"
    )
    edit.add_argument("--strength", default="1", help="how far to go, 0 to 1.5 (default: 1)")
    _add_choices(edit)
    edit.add_argument("--sign", metavar="KEY", help="sign as Content Credentials (C2PA) with this PEM key")
    edit.add_argument("--certificate", metavar="CERT", help="the key's certificate chain, PEM")
    edit.set_defaults(run=_edit)


def _add_choices(command: argparse.ArgumentParser) -> None:
    """The options that every command which edits has."""
    command.add_argument("--method", default="ganimation_age")
    command.add_argument(
        "--face", default=0, type=int, metavar="N", help="which face, 0 is the largest (default: 0)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    command.add_argument(
        "--no-mark",
        action="store_true",
        help="for research: neither the watermark nor the metadata that say the picture is edited; say it yourself",
    )


def _add_animate(commands: Commands, common: _Parser) -> None:
    animate = commands.add_parser("animate", parents=[common], help="make a video of one photo that changes")
    animate.add_argument("photo", metavar="PHOTO")
    animate.add_argument("-o", "--output", required=True, metavar="OUT", help=f"a {CLIP_ENDINGS} file")
    animate.add_argument(
        "--to", action="append", default=[], metavar="age=80", help="where it ends: age=80, AU12=4 or AU12=+2"
    )
    animate.add_argument(
        "--from", action="append", default=[], dest="start", metavar="age=20", help="where it begins"
    )
    animate.add_argument(
        "--ages", nargs="+", metavar="YEARS", help="lead through these ages instead: 5 15 30 50 70"
    )
    animate.add_argument("--seconds", default="4", help="how long (default: 4)")
    animate.add_argument("--fps", default="12", help="frames a second (default: 12)")
    animate.add_argument("--there-and-back", action="store_true", help="return to where it began")
    _add_choices(animate)
    animate.set_defaults(run=_animate)


def _add_read(commands: Commands, common: _Parser) -> None:
    read = commands.add_parser("read", parents=[common], help="measure every face of a photo")
    read.add_argument("photo", metavar="PHOTO")
    read.add_argument("--json", action="store_true", help="print JSON")
    read.set_defaults(run=_read)


def _add_verify(commands: Commands, common: _Parser) -> None:
    verify = commands.add_parser("verify", help="say whether pictures were edited, and by what that is known")
    verify.add_argument("files", nargs="+", metavar="FILE")
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verify.set_defaults(run=_verify)


def _add_demo(commands: Commands, common: _Parser) -> None:
    demo = commands.add_parser("demo", parents=[common], help="edit a bundled photo into one contact sheet")
    demo.add_argument(
        "-o", "--output", default="ganime_age_demo.png", metavar="OUT", help=f"a {ENDINGS} file"
    )
    demo.set_defaults(run=_demo)


def _add_convert(commands: Commands, common: _Parser) -> None:
    convert = commands.add_parser("convert", help="turn weights in an old .pth file into a folder of weights")
    convert.add_argument("old", metavar="OLD.pth")
    convert.add_argument("folder", metavar="NEW_FOLDER")
    convert.add_argument("--method", help="which network the file holds (default: found out from its names)")
    convert.add_argument("--debug", action="store_true", help="show the traceback of an error")
    convert.set_defaults(run=_convert)


def _add_push(commands: Commands, common: _Parser) -> None:
    push = commands.add_parser("push", help="upload weights and a fresh model card to the Hugging Face Hub")
    push.add_argument("repo", metavar="REPO", help="such as org/name; made if it does not exist")
    push.add_argument(
        "--weights", metavar="REPO_OR_FOLDER[@REVISION]", help="what to push (default: the embedded weights)"
    )
    push.add_argument("--results", metavar="FOLDER", help="results files of these weights, for the card")
    push.add_argument("--branch", help="branch to push to, made if it does not exist (default: main)")
    push.add_argument(
        "--pr", action="store_true", help="open a pull request instead of pushing to the branch"
    )
    push.add_argument("--private", action="store_true", help="a repository that is made is private")
    push.add_argument("--debug", action="store_true", help="show the traceback of an error")
    push.set_defaults(run=_push)


def _edit(args: argparse.Namespace) -> int:
    from .edits import Edit

    if args.age is None and not args.au and not args.au_from:
        raise BadInput("nothing is asked for; give --age, --au or both")
    Edit.of(args.age, args.au, strength=args.strength)
    signer = _signer(args)
    source, output = Path(args.photo), Path(args.output)
    if os.path.isdir(source):
        return _edit_folder(args, source, output, signer)
    if source.suffix.lower() in CLIP_SUFFIXES or output.suffix.lower() in (".mp4", ".gif"):
        return _edit_clip(args, source, output, signer)
    target = _target_file(source, output, args.overwrite)
    _edit_one(_expression(_editor(args), args), args, source, target, signer)
    return 0


def _expression(editor: FaceEditor, args: argparse.Namespace) -> FaceEditor:
    """The editor; what the face in --au-from shows is asked for as with --au, which itself goes before."""
    from .edits import AU_UNSEEN, parse_action_units

    if args.au_from:
        shown, *others = editor.read(Path(args.au_from))
        if others:
            found = f"{len(others) + 1} faces were found in {Path(args.au_from).name}"
            _say(f"{found}; the largest one's expression is taken")
        kept = {*AU_UNSEEN, *parse_action_units(args.au)}
        args.au += [f"{code}={value:.3f}" for code, value in shown.action_units.items() if code not in kept]
    return editor


def _edit_clip(args: argparse.Namespace, source: Path, output: Path, signer: Signer | None) -> int:
    if signer is not None:
        raise BadInput("--sign signs pictures; a video is marked by its metadata and its watermark")
    if source.suffix.lower() in SUFFIXES and source.suffix.lower() != ".gif":
        raise BadInput(f"{source.name} is one picture; ganime-age animate makes a video of it")
    target = _target_clip(source, output, args.overwrite)
    editor = _expression(_editor(args), args)
    keep = {"face": args.face, "mark": not args.no_mark}
    with tqdm(unit="frame", file=sys.stderr, disable=None, leave=False) as bar:
        result = editor.edit_video(
            source, target, args.age, args.au, args.method, args.strength, **keep, tell=_teller(bar)
        )
    for warning in result.warnings:
        _say(f"{source.name}: {warning}")
    _say_unmarked(args, target)
    rate = f"{result.frames} frames at {result.rate:.4g} a second"
    tqdm.write(f"{target}  {rate}, {result.edited} edited  {result.seconds:.1f} s")
    return 0


def _animate(args: argparse.Namespace) -> int:
    from .animation import write_animation

    keyframes = _keyframes(args)
    target = _target_clip(Path(args.photo), Path(args.output), args.overwrite)
    keep = {"there_and_back": args.there_and_back, "mark": not args.no_mark}
    with tqdm(unit="frame", file=sys.stderr, disable=None, leave=False) as bar:
        frames = write_animation(
            _editor(args), Path(args.photo), target, keyframes, args.seconds, args.fps, args.method, args.face,
            **keep, tell=_teller(bar),
        )  # fmt: skip
    _say_unmarked(args, target)
    tqdm.write(f"{target}  {frames} frames")
    return 0


def _keyframes(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What --ages, or --from and --to, ask for."""
    from .edits import Edit

    if args.ages and (args.to or args.start):
        raise BadInput("--ages names the whole way; give either it, or --from and --to")
    if args.ages and len(args.ages) < 2:
        raise BadInput("one age makes no way; give at least two after --ages")
    if not args.ages and not args.to:
        raise BadInput("nothing is asked for; give --to age=80, --to AU12=4 or --ages 5 30 70")
    if args.ages:
        keys = [{"age": age, "at": i / (len(args.ages) - 1)} for i, age in enumerate(args.ages)]
    else:
        keys = [{**_moment(items), "at": at} for at, items in enumerate((args.start, args.to)) if items]
    for key in keys:
        Edit.of(key["age"], key.get("action_units"))
    return keys


def _moment(items: list[str]) -> dict[str, Any]:
    """`age=80`, `AU12=4` -> the fields of a keyframe."""
    ages = [item.partition("=")[2] for item in items if item.lower().startswith("age=")]
    if len(ages) > 1:
        raise BadInput("age is asked for twice; give it once")
    units = [item for item in items if not item.lower().startswith("age=")]
    return {"age": ages[0] if ages else None, "action_units": units}


def _teller(bar: tqdm[None]) -> Tell:
    """What shows progress in frames on a bar."""

    def tell(done: int, of: int | None) -> None:
        bar.total = of
        bar.update(done - bar.n)

    return tell


def _say_unmarked(args: argparse.Namespace, target: Path) -> None:
    if args.no_mark:
        _say(f"{target.name} is not marked as edited; say so wherever you show it")


def _edit_folder(args: argparse.Namespace, source: Path, output: Path, signer: Signer | None) -> int:
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
    editor = _expression(_editor(args), args)
    editor.check_method(args.method)
    failures = []
    for photo in tqdm(photos, unit="photo", file=sys.stderr, disable=None):
        try:
            target = _free(output / _writable_name(photo.name), args.overwrite)
            _edit_one(editor, args, photo, target, signer)
        except Exception as error:
            code, message = _explain(error, args.debug)
            _say(message if photo.name in message else f"{photo.name}: {message}")
            failures.append(code)
    if failures:
        _say(f"{len(failures)} of {len(photos)} photos failed")
    return failures[0] if failures else 0


def _signer(args: argparse.Namespace) -> Signer | None:
    """What signs the files, or None; BadInput when the two options do not fit together."""
    if not args.sign and not args.certificate:
        return None
    if not (args.sign and args.certificate):
        raise BadInput("signing takes a key and its certificate; give both --sign and --certificate")
    if args.no_mark:
        raise BadInput("--sign marks the picture as edited and --no-mark does not; give one of the two")
    from .signing import Signer

    return Signer(args.sign, args.certificate)


def _edit_one(
    editor: FaceEditor, args: argparse.Namespace, source: Path, target: Path, signer: Signer | None
) -> None:
    result = editor.edit(
        source, args.age, args.au, args.method, args.strength, face=args.face, mark=not args.no_mark
    )
    for warning in result.warnings:
        _say(f"{source.name}: {warning}")
    result.save(target, signer)
    _say_unmarked(args, target)
    if signer is not None and not result.edited:
        _say(f"{source.name}: nothing was changed, so {target.name} is not signed")
    tqdm.write(f"{target}  {_summary(result)}")


def _summary(result: EditResult) -> str:
    before, after = result.source_reading, result.reading
    asked = "" if result.edit.age is None else f" (asked {result.edit.age:g})"
    parts = [f"age {before.age:.0f} -> {after.age:.0f}{asked}"]
    for code, value in result.asked_units().items():
        was, now = (reading.action_units[code] for reading in (before, after))
        parts.append(f"{code} {was:.1f} -> {now:.1f} (asked {value:g})")
    return "  ".join([*parts, f"identity {result.identity:.2f}", f"{result.seconds:.1f} s"])


def _read(args: argparse.Namespace) -> int:
    readings = _editor(args).read(Path(args.photo))
    if args.json:
        print(json.dumps([reading.to_dict() for reading in readings], indent=2))
        return 0
    for i, reading in enumerate(readings):
        units = [f"{code} {value:.1f}" for code, value in reading.action_units.items() if value >= 0.5]
        age = f"age {reading.age:.0f} ± {reading.age_spread:.0f}"
        print(f"face {i}: {age}, yaw {reading.yaw:.0f}, {' '.join(units) or 'neutral'}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    """Each file's verdict; one that cannot be read is named and the rest goes on. The first failure's exit code."""
    from .verdict import verify

    verdicts, failures = [], []
    for path in map(Path, args.files):
        try:
            verdict = verify(path)
        except Exception as error:
            code, message = _explain(error, args.debug)
            _say(message)
            failures.append(code)
            continue
        verdicts.append({"file": str(path), **verdict.to_dict()})
        if not args.json:
            print(f"{path}  {verdict.sentence()}")
    if args.json:
        print(json.dumps(verdicts, indent=2))
    return failures[0] if failures else 0


def _demo(args: argparse.Namespace) -> int:
    from .sheet import demo_sheet

    target = _target_file(Path("astronaut.png"), Path(args.output), overwrite=True)
    editor = _editor(args)
    write_edited(demo_sheet(editor, print), target, {"method": "ganimation_age", "weights": editor.weights})
    print(f"The contact sheet is at {target.resolve()}")
    return 0


def _convert(args: argparse.Namespace) -> int:
    from .convert import convert

    model = convert(args.old, args.folder, args.method)
    print(f"{args.folder}  {', '.join(model.parts)}")
    return 0


def _push(args: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from .card import own_folder, write_card
    from .model import GanimeAge

    check_name(args.repo)
    model = GanimeAge.from_pretrained(**_weights(args.weights), dtype="auto")
    ours = None if args.weights else own_folder()
    results = args.results or (ours and ours / "results")
    keep = {"branch": args.branch, "create_pr": args.pr, "private": args.private or None}
    with TemporaryDirectory() as fresh:
        card = write_card(fresh, model, results, repo=args.repo, facts=ours and ours / "facts.json")
        print(model.push_to_hub(args.repo, **keep, files=card))
    return 0


def _weights(text: str | None) -> dict[str, Any]:
    """`--weights` as keywords of from_pretrained."""
    source, revision = split_revision(text) if text else (None, None)
    return {"source": source, "revision": revision}


def _editor(args: argparse.Namespace) -> FaceEditor:
    from .editor import FaceEditor
    from .model import GanimeAge

    model = GanimeAge.from_pretrained(**_weights(args.weights))
    return FaceEditor(model, args.device, _finder(args.finder, model))


def _finder(text: str, model: GanimeAge) -> Finder | None:
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
    if os.path.isdir(output) or not output.suffix:
        output = output / _writable_name(source.name)
    if output.suffix.lower() not in WRITERS:
        raise BadInput(f"{output.name} cannot be written as {output.suffix}; choose {ENDINGS}")
    return _other(source, output, overwrite)


def _target_clip(source: Path, output: Path, overwrite: bool) -> Path:
    """Where a video goes: `output` itself, or the source's name inside it when it is a folder."""
    if os.path.isdir(output) or not output.suffix:
        output = output / source.with_suffix(".gif" if source.suffix.lower() == ".gif" else ".mp4").name
    check_target(output)
    return _other(source, output, overwrite)


def _other(source: Path, output: Path, overwrite: bool) -> Path:
    if _same(source, output):
        raise BadInput(f"the output is the input {source.name}; give another name")
    return _free(output, overwrite)


def _free(target: Path, overwrite: bool) -> Path:
    if os.path.exists(target) and not overwrite:
        raise BadInput(f"{target} exists; give another name or add --overwrite")
    return target


def _writable_name(name: str) -> str:
    return name if Path(name).suffix.lower() in WRITERS else f"{name}.png"


def _same(source: Path, output: Path) -> bool:
    return source.resolve() == output.resolve() or (
        os.path.exists(source) and os.path.exists(output) and source.samefile(output)
    )


def _say(text: str) -> None:
    tqdm.write(f"ganime-age: {text}", file=sys.stderr)


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


if __name__ == "__main__":
    run()
