"""What the command line takes: every command with its options."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from .._version import __version__
from ..edits import AGE_PARTS, MOST_TURN, PRESETS, Edit, plain
from ..errors import BadInput
from ..images.endings import WRITTEN_CLIPS as CLIP_ENDINGS
from ..images.endings import WRITTEN_PHOTOS as ENDINGS
from ..model.methods import DEFAULT, METHODS, method_called, methods_that_edit

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction["Parser"]

Run = Callable[[argparse.Namespace], int]
"""A command: parsed arguments -> exit code."""


PROCESSES = "processes"
"""--engine's word for processes of this machine."""
ALL = "all"
"""--method's word for every method that can do the request, and --face's for every face."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """A wrong command line is one line as well, exit 2."""
        self.exit(2, f"ganime-age: {message}; see {self.prog} --help\n")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean edit?` where a word is near a known one, else nothing."""
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def parse(argv: Sequence[str], run: Mapping[str, Run]) -> argparse.Namespace:
    """The arguments of a command line. Nothing given prints the help; a command or an option that does not exist is
    refused with the one that may be meant."""
    root, commands = _parsers(run)
    if not argv:
        root.print_help()
        root.exit()
    if not argv[0].startswith("-") and argv[0] not in commands:
        near = did_you_mean(argv[0], commands) or f"; choose from {', '.join(commands)}"
        root.error(f"there is no command {argv[0]!r}{near}")
    found, rest = root.parse_known_args(argv)
    if rest:
        command = commands.get(argv[0], root)
        options = [word.partition("=")[0] for word in rest if word.startswith("--")]
        known = re.findall(r"--[\w-]+", command.format_help())
        near = did_you_mean(options[0], known) if options else ""
        command.error(f"unrecognized arguments: {' '.join(rest)}{near}")
    return found


def parser(run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser of all commands; `run` maps each to what runs it."""
    return _parsers(run)[0]


def _parsers(run: Mapping[str, Run]) -> tuple[Parser, Mapping[str, Parser]]:
    """The parser of the whole command line, and those of its commands."""
    root = Parser(
        prog="ganime-age",
        description="Edit the age, the expression and the pose of a face in a photo or a clip.",
    )
    root.add_argument("--version", action="version", version=f"ganime-age {__version__}")
    names = "edit | reenact | animate | read | verify | app | demo | convert | export | push | deploy-space"
    commands = root.add_subparsers(required=True, metavar=names, parser_class=Parser)
    common = _common()
    editing, others = (
        (_add_edit, _add_reenact, _add_animate),
        (
            _add_verify,
            _add_app,
            _add_demo,
            _add_convert,
            _add_export,
            _add_push,
            _add_deploy_space,
        ),  # fmt: skip
    )
    for add in (*editing, _add_read, *others):
        add(commands, common)
    for name, function in run.items():
        commands.choices[name].set_defaults(run=function)
    return root, commands.choices


def _common(device: str = "cpu") -> Parser:
    """The options of every command that loads weights. device: the default."""
    common = Parser(add_help=False)
    common.add_argument(
        "--weights", metavar="REPO_OR_FOLDER[@REVISION]", help="weights to use instead of the embedded ones"
    )
    common.add_argument(
        "--device", default=device, help=f"cpu, cuda, mps, or auto: the fastest here (default: {device})"
    )
    common.add_argument(
        "--detector", "--finder", default="embedded", metavar="DETECTOR",
        help="face detector: embedded, or insightface:FOLDER with a pack (--finder is its old name)",
    )  # fmt: skip
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return common


def _add_edit(commands: Commands, common: Parser) -> None:
    edit = commands.add_parser(
        "edit", parents=[common], help="edit a photo, a folder or a shard of photos, or a video"
    )
    edit.add_argument(
        "photo",
        metavar="PHOTO_FOLDER_OR_VIDEO",
        help="a file; a folder of photos, or of shards that hold photos: .tar as webdataset writes them, .parquet with "
        "a column of pictures; or one such shard. Folders and shards may be URLs, such as s3://mine/photos",
    )
    edit.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help=f"{ENDINGS} file, a folder, or {CLIP_ENDINGS} of a video; the photos of photos.tar go to OUT/photos/",
    )
    _add_wish(edit)
    ways = {"yaw": "to the right of the picture", "pitch": "down", "roll": "clockwise"}
    for name, most in MOST_TURN.items():
        edit.add_argument(
            f"--{name}",
            default="0",
            metavar="DEGREES",
            help=f"turn the head {ways[name]}, -{most:g} to {most:g}",
        )
    edit.add_argument(
        "--parts",
        metavar=",".join(AGE_PARTS),
        help=f"what the age changes (default: all; {DEFAULT} alone can leave some out)",
    )
    edit.add_argument(
        "--au-from", metavar="PHOTO", help="take the expression, not the pose, of this photo's face"
    )
    _add_choices(edit, all_methods=True, all_faces=True)
    edit.add_argument(
        "--strip",
        nargs="+",
        metavar="YEARS",
        help="one labelled strip of the face at these ages: 5 15 30 50 70",
    )
    edit.add_argument(
        "--sheet", action="store_true", help="one labelled sheet of the face at several ages and expressions"
    )
    _add_sharing(edit)
    edit.add_argument("--sign", metavar="KEY", help="sign as Content Credentials (C2PA) with this PEM key")
    edit.add_argument("--certificate", metavar="CERT", help="the key's certificate chain, PEM")


def _add_sharing(edit: argparse.ArgumentParser) -> None:
    """The options that share a folder among processes."""
    edit.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="edit a folder or a shard in N processes; a run that was stopped goes on, and report.json names what "
        "failed",
    )
    edit.add_argument(
        "--engine",
        choices=(PROCESSES, "ray"),
        default=PROCESSES,
        help="ray: edit it by N actors of the Ray cluster at RAY_ADDRESS, or of one on this machine; all of "
        "its nodes must see both folders (default: processes of this machine)",
    )


def _add_reenact(commands: Commands, common: Parser) -> None:
    reenact = commands.add_parser(
        "reenact", parents=[common], help="move a face like the face of another photo or of a video"
    )
    reenact.add_argument("source", metavar="SOURCE", help="the photo of the person to show")
    reenact.add_argument("driving", metavar="DRIVING", help="a photo, video or GIF of the face to follow")
    reenact.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help=f"a {ENDINGS} file or a folder; {CLIP_ENDINGS} of a video",
    )
    _add_wish(reenact)
    way = reenact.add_mutually_exclusive_group()
    way.add_argument("--relative", action="store_true", default=None, help="of a video, the motion from its first "
                     "frame on, so that SOURCE starts as it is (default for a video)")  # fmt: skip
    way.add_argument("--absolute", action="store_false", dest="relative", default=None,
                     help="expression and pose as they are (always so for a photo)")  # fmt: skip
    reenact.add_argument(
        "--motion",
        default="both",
        metavar="WHAT",
        help="what is taken: both, expression or pose (default: both)",
    )
    reenact.add_argument(
        "--multiplier", default="1", metavar="TIMES", help="how far the motion goes, 0 to 2 (default: 1)"
    )
    reenact.add_argument(
        "--driving-face", default=0, type=int, metavar="N", help="which face of DRIVING (default: 0)"
    )
    aging = ", ".join(methods_that_edit("age"))
    reenact.add_argument(
        "--method",
        default=DEFAULT,
        type=method_among(methods_that_edit("age")),
        help=f"how --age is edited: {aging} (default: {DEFAULT})",
    )
    _add_choices(reenact, method=False)


def _add_wish(command: argparse.ArgumentParser) -> None:
    """The options of a request: age, action units, strength."""
    command.add_argument("--age", metavar="YEARS", help="target age, 0 to 100 years")
    command.add_argument(
        "--au",
        action="append",
        default=[],
        metavar="AU12=3",
        help="intensity 0 to 5, or a change: AU04=+2; in words too: frown=3, 'jaw drop=2'",
    )
    command.add_argument(
        "--preset",
        action="append",
        default=[],
        dest="au",
        type=preset,
        metavar="PRESET",
        help=f"an expression: {', '.join(PRESETS)}; smile=2 sets how strong",
    )
    command.add_argument("--strength", default="1", help="scale of the edit, 0 to 1.5 (default: 1)")


def preset(text: str) -> str:
    """--preset's value, checked: one of PRESETS, alone or with an intensity."""
    name = text.partition("=")[0]
    if plain(name) not in PRESETS:
        near = did_you_mean(plain(name), PRESETS) or f"; choose from {', '.join(PRESETS)}"
        raise argparse.ArgumentTypeError(f"there is no preset {name!r}{near}")
    return text


def method_among(words: Iterable[str]) -> Callable[[str], str]:
    """Of --method, which may be one of these words or a method's title: value -> value. What is near a word and is none
    is refused with it; of other words the weights say what they hold instead."""
    known = {word.lower(): word for word in words}
    known |= {METHODS[word].title.lower(): word for word in known.values() if word in METHODS}

    def method(text: str) -> str:
        near = difflib.get_close_matches(text.lower(), known, n=1)
        if near and text != ALL and method_called(text) not in METHODS:
            raise argparse.ArgumentTypeError(f"there is no method {text!r}; did you mean {known[near[0]]}?")
        return text

    return method


def face_number(text: str) -> int | Literal["all"]:
    """--face's value: a number, or ALL."""
    if text == ALL:
        return "all"
    if not text.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no face; give a number, 0 is the largest, or {ALL}")
    return int(text)


def _add_download(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allow-download", action="store_true", help="fetch photos that are given as http or https addresses"
    )


def _add_choices(
    command: argparse.ArgumentParser, method: bool = True, all_methods: bool = False, all_faces: bool = False
) -> None:
    """The options that every command which edits has. method: whether --method is one; all_methods, all_faces: whether
    --method and --face may be ALL."""
    if method:
        sheet = f", or {ALL}: one labelled sheet of every method that can" if all_methods else ""
        how = f"how: {', '.join(METHODS)} (default: {DEFAULT}){sheet}"
        words = [*METHODS, ALL] if all_methods else list(METHODS)
        command.add_argument("--method", default=DEFAULT, type=method_among(words), help=how)
    which = "which face, 0 is the largest (default: 0)" + (
        ", or all: every face of a photo" if all_faces else ""
    )
    command.add_argument("--face", default=0, type=face_number if all_faces else int, metavar="N", help=which)
    _add_download(command)
    command.add_argument("--overwrite", action="store_true", help="replace output files that exist")
    command.add_argument(
        "--no-mark",
        action="store_true",
        help="for research: leave out the watermark and the metadata of the edit; say yourself that it is one",
    )


def _add_animate(commands: Commands, common: Parser) -> None:
    animate = commands.add_parser(
        "animate", parents=[common], help="make a video of one photo that changes from keyframe to keyframe"
    )
    animate.add_argument("photo", metavar="PHOTO")
    animate.add_argument("-o", "--output", required=True, metavar="OUT", help=f"a {CLIP_ENDINGS} file")
    animate.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="age=80",
        help="the last keyframe: age=80, AU12=4 or AU12=+2",
    )
    animate.add_argument(
        "--from",
        action="append",
        default=[],
        dest="start",
        metavar="age=20",
        help="the first keyframe (default: the photo)",
    )
    animate.add_argument(
        "--ages", nargs="+", metavar="YEARS", help="keyframes at these ages instead: 5 15 30 50 70"
    )
    animate.add_argument("--seconds", default="4", help="length in seconds (default: 4)")
    animate.add_argument("--fps", default="12", help="frames a second (default: 12)")
    animate.add_argument("--there-and-back", action="store_true", help="return to the first keyframe")
    _add_choices(animate)


def _add_read(commands: Commands, common: Parser) -> None:
    read = commands.add_parser("read", parents=[common], help="measure every face of a photo")
    read.add_argument("photo", metavar="PHOTO")
    read.add_argument(
        "--identity",
        metavar="insightface:PACK",
        help="also how like the photo's faces are to each other, by an InsightFace pack (for research)",
    )
    _add_download(read)
    read.add_argument("--json", action="store_true", help="print JSON")


def _add_verify(commands: Commands, common: Parser) -> None:
    verify = commands.add_parser(
        "verify", help="look for the marks of an edit in pictures and clips and print the evidence"
    )
    verify.add_argument("files", nargs="+", metavar="FILE")
    _add_download(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_app(commands: Commands, common: Parser) -> None:
    app = commands.add_parser(
        "app", parents=[_common("auto")], help="serve the page for a browser on this machine"
    )
    app.add_argument(
        "--port", type=int, metavar="N", help="port of the page (default: the first free from 7860)"
    )
    app.add_argument(
        "--share", action="store_true", help="also give it a public address for 72 hours, through gradio.live"
    )


def _add_demo(commands: Commands, common: Parser) -> None:
    demo = commands.add_parser("demo", parents=[common], help="edit a bundled photo into one contact sheet")
    demo.add_argument(
        "-o", "--output", default="ganime_age_demo.png", metavar="OUT", help=f"a {ENDINGS} file"
    )


def _add_convert(commands: Commands, common: Parser) -> None:
    convert = commands.add_parser(
        "convert", help="turn an old .pth file, or weights of an older format, into a folder of weights"
    )
    convert.add_argument("old", metavar="OLD.pth_OR_FOLDER")
    convert.add_argument("folder", metavar="NEW_FOLDER")
    convert.add_argument("--method", help="the network in the file (default: recognised by its tensor names)")
    convert.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_export(commands: Commands, common: Parser) -> None:
    export = commands.add_parser("export", help="write the weights as graphs that run without torch")
    export.add_argument("folder", metavar="OUT", help="a new or an empty folder, or an earlier export")
    export.add_argument("--format", choices=["onnx"], default="onnx", help="of the graphs (default: onnx)")
    export.add_argument("--half", action="store_true", help="store weights in half precision, half as large")
    export.add_argument(
        "--sides",
        nargs="+",
        type=int,
        metavar="N",
        help="sides in pixels of the faces to edit (default: 256 to 1024)",
    )
    export.add_argument(
        "--weights",
        metavar="REPO_OR_FOLDER[@REVISION]",
        help="weights to export (default: the embedded ones)",
    )
    export.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_push(commands: Commands, common: Parser) -> None:
    push = commands.add_parser("push", help="upload weights and a fresh model card to the Hugging Face Hub")
    push.add_argument("repo", metavar="REPO", help="such as org/name; made if it does not exist")
    push.add_argument(
        "--weights", metavar="REPO_OR_FOLDER[@REVISION]", help="weights to push (default: the embedded ones)"
    )
    push.add_argument("--results", metavar="FOLDER", help="results files of these weights, for the card")
    push.add_argument("--branch", help="branch to push to, made if it does not exist (default: main)")
    push.add_argument(
        "--pr", action="store_true", help="open a pull request instead of pushing to the branch"
    )
    push.add_argument("--private", action="store_true", help="a repository that is made is private")
    push.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_deploy_space(commands: Commands, common: Parser) -> None:
    deploy = commands.add_parser("deploy-space", help="upload the page, from a checkout, as a Space")
    deploy.add_argument("repo", metavar="REPO", help="such as org/name; made if it does not exist")
    deploy.add_argument("--dry-run", action="store_true", help="only show the files and their sizes")
    deploy.add_argument(
        "--static", action="store_true", help="the page that edits in the visitor's browser, and no server"
    )
    deploy.add_argument(
        "--runtime", metavar="FOLDER", help="of --static: onnxruntime-web, unpacked (default: npm fetches it)"
    )
    deploy.add_argument("--private", action="store_true", help="a Space that is made is private")
    deploy.add_argument("--debug", action="store_true", help="show the traceback of an error")


def keyframes(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What --ages, or --from and --to, ask for."""
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
