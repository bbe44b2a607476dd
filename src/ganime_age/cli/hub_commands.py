"""The commands about weights and the Hub: convert, export, push and deploy-space."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def weights(text: str | None) -> dict[str, Any]:
    """`--weights` as keywords of from_pretrained."""
    from ..model.hub import split_revision

    source, revision = split_revision(text) if text else (None, None)
    return {"pretrained_model_name_or_path": source, "revision": revision}


def convert(args: argparse.Namespace) -> int:
    from ..model.convert import convert

    model = convert(args.old, args.folder, args.method)
    print(f"{args.folder}  {', '.join(model.parts)}")
    return 0


def export(args: argparse.Namespace) -> int:
    from ..model.model import GanimeAge
    from ..onnx.exporter import check_target, export
    from .console import tell

    check_target(Path(args.folder))
    model = GanimeAge.from_pretrained(**weights(args.weights))
    manifest = export(model, args.folder, half=args.half, sides=args.sides, progress=tell)
    size = sum(path.stat().st_size for path in Path(args.folder).iterdir())
    print(f"{manifest}  {size / 1e6:.1f} MB in all")
    return 0


def push(args: argparse.Namespace) -> int:
    from ..card.card import own_folder, write_card
    from ..model.hub import check_name
    from ..model.model import GanimeAge

    check_name(args.repo)
    model = GanimeAge.from_pretrained(**weights(args.weights), dtype="auto")
    ours = None if args.weights else own_folder()
    results = args.results or (ours and ours / "results")
    keep = {"branch": args.branch, "create_pr": args.pr, "private": args.private or None}
    with TemporaryDirectory() as fresh:
        card = write_card(fresh, model, results, repo=args.repo, facts=ours and ours / "facts.json")
        print(model.push_to_hub(args.repo, **keep, files=card))
    return 0


def deploy_space(args: argparse.Namespace) -> int:
    from ..model.hub import check_name
    from .deploy_space import deploy, listing, space_files

    check_name(args.repo)
    with TemporaryDirectory() as fresh:
        if args.static:
            from ..model.model import GanimeAge
            from .static_space import build

            runtime = Path(args.runtime) if args.runtime else None
            files = build(GanimeAge.from_pretrained(), Path(fresh) / "page", runtime)
        else:
            files = space_files()
        print(listing(files))
        if args.dry_run:
            print(f"Nothing was uploaded; without --dry-run these become the Space {args.repo}")
        else:
            sdk = "static" if args.static else "gradio"
            print(deploy(args.repo, files, args.private or None, sdk=sdk))
    return 0
