"""The command line, `ganime-age COMMAND`: parse, call one function, print; a failure is one line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, GanimeAgeError, MissingModel
from ..images.endings import CLIPS as CLIP_SUFFIXES
from ..images.endings import PHOTOS as SUFFIXES
from ..model.methods import DEFAULT
from . import hub_commands
from .addresses import check_here, photos_here
from .arguments import ALL, PROCESSES, keyframes, parse, parser
from .console import (
    frame_bar,
    photo_bar,
    photo_count,
    save,
    say,
    say_clip,
    say_unmarked,
    say_warnings,
    summary,
    tell,
)
from .folders import FULL, URL, Folder, Here, folder_at
from .output_paths import free, other_than, same, target_clip, target_file, writable_name
from .photos import Found, Photo, Reader, Source, find, folders_of, source_at, written
from .shards import is_shard
from .workers import TRIES, Died, Work, answers

if TYPE_CHECKING:
    from ..editor import FaceEditor
    from ..images.named import Named
    from ..model.model import GanimeAge
    from ..pipelines.face import Detector, Recogniser
    from ..provenance.c2pa import Signer
    from ..results import Reading

# Modules that need torch, NumPy or Pillow are imported where a command uses them: help and typos wait for none.


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code: 0 all well, 1 a bug, 2 bad input, 3 a missing or damaged model."""
    args = parse(sys.argv[1:] if argv is None else argv, RUN)
    try:
        with photos_here(args):
            return args.run(args)
    except KeyboardInterrupt:
        say("stopped")
        return 130
    except Exception as error:
        code, message = _explain(error, args.debug)
        say(message)
        return code


def _explain(error: Exception, debug: bool) -> tuple[int, str]:
    """Exit code and sentence of an exception; with `debug` its traceback goes to stderr first."""
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, GanimeAgeError):
        return error.exit_code, str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        place = f" to {error.filename}" if error.filename else ""
        said = f"nothing can be written{place} ({error.strerror}); make room, then try again"
        return BadInput.exit_code, said
    return 1, f"a bug stopped this ({type(error).__name__}: {error}); add --debug for the traceback"


def run() -> None:
    """The console script. A shell that has argcomplete completes its commands and options."""
    if "_ARGCOMPLETE" in os.environ:
        complete()
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _stopped)
    sys.exit(main())


def complete() -> None:
    """Answer a shell's question for completions, and leave; without argcomplete nothing happens."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser(RUN))


def _stopped(number: int, frame: object) -> None:
    """Leave as after an error, so that no half file stays; once is enough."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _edit(args: argparse.Namespace) -> int:
    from ..edits import Edit

    if args.strip or args.sheet:
        return _draw_sheet(args)
    turn = _turn(args)
    if args.age is None and not args.au and not args.au_from and not turn:
        raise BadInput("nothing is asked for; give --age, --au or --au-from, or turn the head with --yaw")
    Edit.of(args.age, args.au, strength=args.strength, parts=args.parts, turn=turn)
    signer = _signer(args)
    source, output = Path(args.photo), Path(args.output)
    if URL.match(args.photo) or URL.match(args.output):
        if not URL.match(args.output):
            check_here(args.output)
        elif not (URL.match(args.photo) or os.path.isdir(source) or is_shard(source.name)):
            raise BadInput(
                f"{args.output} takes the edits of a folder or a shard; give a path for {source.name}"
            )
        return _share_folder(args, source_at(args.photo), folder_at(args.output))
    if os.path.isdir(source) or is_shard(source.name):
        return _edit_folder(args, source, output, signer)
    if _shared(args):
        asked = "--workers" if args.engine == PROCESSES else "--engine ray"
        raise BadInput(f"{asked} shares a folder among processes; {source.name} is one file")
    if source.suffix.lower() in CLIP_SUFFIXES or output.suffix.lower() in (".mp4", ".gif"):
        return _edit_clip(args, source, signer)
    target = target_file(source, args.output, args.overwrite)
    editor = _editor(args)
    _edit_one(editor, args, _request(editor, args), source, target, signer)
    return 0


def _request(editor: FaceEditor, args: argparse.Namespace) -> dict[str, Any]:
    """The options of an edit as keywords of the editor, without the method."""
    units = [*args.au, *_copied_units(editor, args)]
    mark = not args.no_mark
    return {
        "age": args.age,
        "action_units": units,
        "turn": _turn(args),
        "strength": args.strength,
        "parts": args.parts,
        "face": args.face,
        "mark": mark,
    }


def _turn(args: argparse.Namespace) -> dict[str, str]:
    """The angles by which the head is turned, by name; those that are not asked for are left out."""
    angles = {"yaw": args.yaw, "pitch": args.pitch, "roll": args.roll}
    return {name: degrees for name, degrees in angles.items() if degrees != "0"}


def _copied_units(editor: FaceEditor, args: argparse.Namespace) -> list[str]:
    """The expression of the face in --au-from, as --au would ask for it; an action unit that --au names is left out."""
    from ..edits import parse_action_units

    if args.au_from:
        shown, *others = editor.read(args.au_from)
        if others:
            found = f"{len(others) + 1} faces were found in {Path(args.au_from).name}"
            say(f"{found}; the largest one's expression is taken")
        named = parse_action_units(args.au)
        wanted = [code for code in editor.model.editable_action_units if code not in named]
        return [f"{code}={shown.action_units[code]:.3f}" for code in wanted]
    return []


def _edit_clip(args: argparse.Namespace, source: Path, signer: Signer | None) -> int:
    if args.method == ALL:
        raise BadInput("--method all makes a sheet of one photo; name one method for a video")
    if args.face == ALL:
        raise BadInput("--face all edits photos; name one face of a video, 0 is the largest")
    if signer is not None:
        raise BadInput("--sign signs pictures; a video is marked by its metadata and its watermark")
    if source.suffix.lower() in SUFFIXES and source.suffix.lower() != ".gif":
        raise BadInput(f"{source.name} is one picture; ganime-age animate makes a video of it")
    target = target_clip(source, args.output, args.overwrite)
    editor = _editor(args)
    request = _request(editor, args)
    with frame_bar() as progress:
        result = editor.edit_video(source, target, **request, method=args.method, progress=progress)
    say_clip(args, result, source, target)
    return 0


def _reenact(args: argparse.Namespace) -> int:
    from ..edits import Edit
    from ..images.video_reader import is_clip
    from ..pipelines.reenactment import Motion

    Edit.of(args.age, args.au, strength=args.strength)
    source, driving = Path(args.source), Path(args.driving)
    request: dict[str, Any] = {"age": args.age, "action_units": args.au, "strength": args.strength}
    request |= {"face": args.face, "driving_face": args.driving_face, "mark": not args.no_mark}
    Motion.of(args.motion, args.multiplier)
    request |= {"motion": args.motion, "multiplier": args.multiplier, "method": args.method}
    if not is_clip(driving):
        target = other_than(driving, target_file(source, args.output, args.overwrite), args.overwrite)
        if args.relative:
            raise BadInput("relative motion needs a clip; one driving photo has no first frame")
        save(args, _editor(args).reenact(source, driving, **request), source, target, None)
        return 0
    target = other_than(source, target_clip(driving, args.output, args.overwrite), args.overwrite)
    request["relative"] = args.relative is not False
    editor = _editor(args)
    with frame_bar() as progress:
        result = editor.reenact_video(source, driving, target, **request, progress=progress)
    say_clip(args, result, driving, target)
    return 0


def _animate(args: argparse.Namespace) -> int:
    request: dict[str, Any] = {"keyframes": keyframes(args), "seconds": args.seconds, "fps": args.fps}
    request |= {"there_and_back": args.there_and_back, "method": args.method, "face": args.face}
    target = target_clip(Path(args.photo), args.output, args.overwrite)
    editor = _editor(args)
    with frame_bar() as progress:
        result = editor.animate_video(
            Path(args.photo), target, **request, mark=not args.no_mark, progress=progress
        )
    say_unmarked(args, target)
    tell(f"{target}  {result.frames} frames")
    return 0


def _edit_folder(args: argparse.Namespace, source: Path, output: Path, signer: Signer | None) -> int:
    """Edit the photos of a folder or a shard; a failing one is named and the rest goes on. The first failure's exit
    code."""
    check_here(args.output)
    place = source_at(str(source))
    found, reader = find(place), Reader(place)
    if output.suffix.lower() in SUFFIXES or output.is_file():
        kind = "a folder" if os.path.isdir(source) else "a shard"
        raise BadInput(f"{source} is {kind} but {output} is a file; give an output folder")
    if same(source, output):
        raise BadInput("the output folder is the input folder; give another one")
    if _shared(args):
        return _share_folder(args, place, Here(output), found)
    editor = _editor(args)
    request = _request(editor, args)
    if args.method != ALL:
        editor.check_method(args.method)
    failures = _unusable(found)
    for photo in photo_bar(found.photos):
        try:
            target = free(output / writable_name(photo.name), args.overwrite)
            with reader.read(photo) as file:
                _edit_one(editor, args, request, file, target, signer)
        except Exception as error:
            code, message = _explain(error, args.debug)
            say(message if photo.name in message else f"{photo.name}: {message}")
            failures.append(code)
    if failures:
        say(f"{len(failures)} of {found.total} photos failed")
    return failures[0] if failures else 0


def _unusable(found: Found) -> list[int]:
    """Name what a folder holds that cannot be used; the exit codes."""
    for error in found.ignored:
        say(f"{error}; it is left out")
    for error in found.failed.values():
        say(str(error))
    return [error.exit_code for error in found.failed.values()]


def _share_folder(
    args: argparse.Namespace, source: Source, output: Folder, found: Found | None = None
) -> int:
    """Edit a folder's photos in processes of this machine, or by actors of a Ray cluster that reaches the same folders.
    What is written already is left as it is, so a run that was stopped goes on where it stopped; report.json says what
    was asked and what failed. found: what the source holds, where that is known."""
    from .folder_report import NAME, Report

    if args.workers is not None and args.workers < 1:
        raise BadInput(f"{args.workers} workers edit nothing; give 1 or more, such as the number of cores")
    if str(source) == str(output):
        raise BadInput("the output folder is the input folder; give another one")
    if args.engine != PROCESSES:
        from .ray_workers import package

        package()  # says now that it is missing
    found = found or find(source)
    editor = _editor(args)
    _request(editor, args)  # what is wrong for all photos is said once
    if args.method != ALL:
        editor.check_method(args.method)
    report = Report.opened(output, _asked(args), args.overwrite)
    codes = _unusable(found)
    report.failed.update({name: str(error) for name, error in found.failed.items()})
    there = set() if args.overwrite else written(output, found.photos)
    left = [photo for photo in found.photos if writable_name(photo.name) not in there]
    if len(left) < len(found.photos):
        say(f"{len(found.photos) - len(left)} of {len(found.photos)} photos are there already")
    plain = argparse.Namespace(**{name: value for name, value in vars(args).items() if name != "run"})
    with photo_count(len(left)) as done:
        for number, answer in _answers(args, left, partial(_worker, plain, source, output)):
            name, (code, message) = left[number].name, _answered(answer)
            if code:
                message = message if name in message else f"{name}: {message}"
                say(message)
                codes.append(code)
                report.failed[name] = message
            done()
    report.finish(found.total, folders_of(found.photos))
    if codes:
        say(f"{len(codes)} of {found.total} photos failed; {output}/{NAME} names them")
    return codes[0] if codes else 0


def _answered(answer: Any) -> tuple[int, str]:
    """A worker's exit code and sentence."""
    if isinstance(answer, Died):
        return 1, f"its process died {TRIES} times; give fewer workers, or leave it out"
    code, message = answer
    return code, message


def _shared(args: argparse.Namespace) -> bool:
    return args.workers is not None or args.engine != PROCESSES


def _answers(
    args: argparse.Namespace, tasks: list[Photo], setup: Callable[[], Work]
) -> Iterator[tuple[int, Any]]:
    """The tasks' answers by the engine that was asked for."""
    if args.engine == PROCESSES:
        return answers(tasks, setup, args.workers or 1)
    from .ray_workers import ray_answers

    return ray_answers(tasks, setup, args.workers, gpus=1.0 if args.device.startswith("cuda") else 0.0)


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """What an edit is asked by, of the arguments: two runs of one folder must agree on it."""
    how = (
        "run",
        "photo",
        "output",
        "allow_download",
        "workers",
        "engine",
        "overwrite",
        "device",
        "debug",
        "sign",
        "certificate",
    )
    return {name: value for name, value in sorted(vars(args).items()) if name not in how}


def _worker(args: argparse.Namespace, source: Source, output: Folder) -> Callable[[Photo], tuple[int, str]]:
    """What one process does: a photo -> exit code and sentence. It shares the cores with the others."""
    import torch

    cores = _cores()
    torch.set_num_threads(max(1, cores // (args.workers or (1 if args.engine == PROCESSES else cores))))
    editor, signer = _editor(args), _signer(args)
    request, reader = _request(editor, args), Reader(source)

    def work(photo: Photo) -> tuple[int, str]:
        name = writable_name(photo.name)
        try:
            with reader.read(photo) as file, output.write(name) as target:
                _edit_one(editor, args, dict(request), file, target, signer, f"{output}/{name}")
        except Exception as error:
            return _explain(error, args.debug)
        return 0, ""

    return work


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _signer(args: argparse.Namespace) -> Signer | None:
    """What signs the files, or None; BadInput when the two options do not fit together."""
    if not args.sign and not args.certificate:
        return None
    if not (args.sign and args.certificate):
        raise BadInput("signing takes a key and its certificate; give both --sign and --certificate")
    if args.no_mark:
        raise BadInput("--sign marks the picture as edited and --no-mark does not; give one of the two")
    from ..provenance.c2pa import Signer

    return Signer(args.sign, args.certificate)


def _edit_one(
    editor: FaceEditor,
    args: argparse.Namespace,
    request: dict[str, Any],
    source: Path | Named,
    target: Path,
    signer: Signer | None,
    shown: str | None = None,
) -> None:
    """shown: what is printed as the target, where that is written by way of another file."""
    if args.method == ALL:
        return _compare_one(editor, args, request, source, target, signer, shown)
    save(args, editor.edit(source, **request, method=args.method), source, target, signer, shown)


def _compare_one(
    editor: FaceEditor,
    args: argparse.Namespace,
    request: dict[str, Any],
    source: Path | Named,
    target: Path,
    signer: Signer | None,
    shown: str | None,
) -> None:
    """One sheet of what every method makes of the request."""
    from ..card.contact_sheet import compare_sheet
    from ..provenance.metadata import write_edited

    if args.parts is not None:
        raise BadInput("--method all compares whole ages; leave out --parts, or name one method")
    wanted = {name: value for name, value in request.items() if name != "parts"}
    results = editor.compare(source, **wanted)
    say_warnings(source, results[0])
    record = results[0].record() | {"method": ", ".join(result.method for result in results)}
    marked = results[0].edited and not args.no_mark
    write_edited(compare_sheet(results), target, record if marked else None, signer)
    say_unmarked(args, target)
    for result in results:
        tell(f"{shown or target}  {result.method}: {summary(result)}")


def _draw_sheet(args: argparse.Namespace) -> int:
    """--strip and --sheet: one picture of many edits of one photo."""
    from ..edits import check_age
    from ..provenance.metadata import write_edited

    if args.age is not None or args.au_from or (args.sheet and (args.au or args.strip)):
        raise BadInput(
            "--strip and --sheet name what is asked; leave out --age and --au-from, and one of the two"
        )
    several = os.path.isdir(args.photo) or URL.match(args.photo) or is_shard(args.photo)
    if args.face == ALL or args.method == ALL or several:
        raise BadInput("--strip and --sheet show one face of one photo by one method; give such")
    asked = args.face or args.method != DEFAULT or args.strength != "1" or args.parts or _turn(args)
    if args.sheet and asked:
        raise BadInput(
            f"--sheet shows the largest face by {DEFAULT}; leave out --face, --method, --strength, --parts and turns"
        )
    source, ages = Path(args.photo), [check_age(age) for age in args.strip or ()]
    signer, target = _signer(args), target_file(source, args.output, args.overwrite)
    editor = _editor(args)
    if args.sheet:
        from ..card.contact_sheet import demo_sheet

        sheet, record = demo_sheet(editor, tell, source), {"method": args.method, "weights": editor.weights}
    else:
        from ..card.contact_sheet import ages_strip

        request = _request(editor, args) | {"ages": ages, "method": args.method}
        del request["age"]
        results = editor.progression(source, **request)
        sheet, record = ages_strip(results), results[0].record() | {"age": None, "ages": ages}
        say_warnings(source, results[0])
    write_edited(sheet, target, None if args.no_mark else record, signer)
    say_unmarked(args, target)
    tell(f"{target}  {sheet.width}x{sheet.height}")
    return 0


def _read(args: argparse.Namespace) -> int:
    readings = _editor(args).read(Path(args.photo))
    if args.json:
        rows = [reading.to_dict() for reading in readings]
        if args.identity:
            for row, likeness in zip(rows, _likenesses(readings), strict=True):
                row["likeness"] = likeness
        print(json.dumps(rows, indent=2))
        return 0
    for i, reading in enumerate(readings):
        print(f"face {i}: {reading}")
    if args.identity:
        for i, likeness in enumerate(_likenesses(readings)):
            for j in range(i):
                print(f"faces {j} and {i}: likeness {likeness[j]:.2f}")
    return 0


def _likenesses(readings: Sequence[Reading]) -> list[list[float]]:
    """How like each face is to every face of its photo: cosines, -1..1, by the identity measure."""
    codes = [reading.identity for reading in readings]
    return [[round(float(one @ other), 3) for other in codes] for one in codes]


def _verify(args: argparse.Namespace) -> int:
    """Each file's verdict; a file that cannot be read is named and the rest goes on. The first failure's exit code."""
    from ..provenance.verify import verify

    verdicts, failures = [], []
    for path in args.files:
        try:
            verdict = verify(path, allow_download=args.allow_download)
        except Exception as error:
            code, message = _explain(error, args.debug)
            say(message)
            failures.append(code)
            continue
        verdicts.append({"file": path, **verdict.to_dict()})
        if not args.json:
            print(f"{path}  {verdict.sentence()}")
    if args.json:
        print(json.dumps(verdicts, indent=2))
    return failures[0] if failures else 0


def _app(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        from ..space.page import serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise MissingModel("the page needs gradio; install it: pip install 'ganime_age[space]'") from None
    if args.port is not None and not 1 <= args.port <= 65535:
        raise BadInput(f"port {args.port} is out of range; give one between 1 and 65535")
    serve(_editor(args), args.port, args.share)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from ..card.contact_sheet import demo_sheet
    from ..provenance.metadata import write_edited

    target = target_file(Path("astronaut.png"), args.output, overwrite=True)
    editor = _editor(args)
    write_edited(demo_sheet(editor, print), target, {"method": "ganimation_age", "weights": editor.weights})
    print(f"The contact sheet is at {target.resolve()}")
    return 0


def _editor(args: argparse.Namespace) -> FaceEditor:
    from ..editor import FaceEditor
    from ..model.model import GanimeAge
    from ..runtime import bound_memory

    bound_memory()
    model = GanimeAge.from_pretrained(**hub_commands.weights(args.weights))
    detector = _detector(args.detector, model, args.device)
    recogniser = _recogniser(getattr(args, "identity", None), args.device)
    fetches = getattr(args, "allow_download", False)
    return FaceEditor(
        model, device=args.device, detector=detector, recogniser=recogniser, allow_download=fetches
    )


def _recogniser(text: str | None, device: str) -> Recogniser | None:
    """None for the weights' own reader, else InsightFace's with a pack, by its name or its folder (.../models/NAME)."""
    if text is None:
        return None
    kind, _, pack = text.partition(":")
    if kind != "insightface" or not pack:
        raise BadInput(
            f"unknown identity measure {text!r}; write insightface:PACK, such as insightface:buffalo_l"
        )
    from ..images.detectors import LICENCE, InsightFaceIdentity
    from ..runtime import checked_device

    folder = _pack_folder(pack if "/" in pack or os.sep in pack else f"~/.insightface/models/{pack}")
    measure = InsightFaceIdentity(folder.parent.parent, folder.name, checked_device(device))
    say(LICENCE)
    return measure


def _pack_folder(folder: str) -> Path:
    pack = Path(folder).expanduser().absolute()
    if pack.parent.name != "models":
        raise BadInput(f"{pack} is no InsightFace pack; give its folder, which lies in a folder named models")
    return pack


def _detector(text: str, model: GanimeAge, device: str = "cpu") -> Detector | None:
    """None for the embedded detector, else InsightFace's with the pack in FOLDER (.../models/NAME)."""
    kind, _, folder = text.partition(":")
    if text == "embedded":
        return None
    if kind != "insightface":
        raise BadInput(f"unknown detector {text!r}; choose embedded or insightface:FOLDER")
    pack = _pack_folder(folder or "~/.insightface/models/buffalo_l")
    from ..images.detectors import LICENCE, EmbeddedDetector, InsightFaceDetector
    from ..runtime import checked_device

    landmarker = EmbeddedDetector(model.detector).landmarks
    detector = InsightFaceDetector(pack.parent.parent, pack.name, landmarker, checked_device(device))
    say(LICENCE)
    return detector


RUN = {
    "edit": _edit,
    "reenact": _reenact,
    "animate": _animate,
    "read": _read,
    "verify": _verify,
    "app": _app,
    "demo": _demo,
    "convert": hub_commands.convert,
    "export": hub_commands.export,
    "push": hub_commands.push,
    "deploy-space": hub_commands.deploy_space,
}

if __name__ == "__main__":
    run()
