"""The model card: rendered from results files and the model itself, so that no figure in it is typed or stale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from textwrap import fill

from huggingface_hub import EvalResult, ModelCardData

from ..errors import BadInput
from ..model.fingerprint import fingerprint, part_fingerprint
from ..model.format2 import FORMER_PARTS
from ..model.methods import METHODS, parts, table1_rows
from ..model.model import GanimeAge
from .charts import table1_chart
from .facts import Facts
from .pictures import FAILURES, PICTURES, draw
from .results import Results, table
from .table1 import FIGURE
from .tables import measured

NAME = "ganime_age"
TASK = "image-to-image"
READING = ("readers", "attributes")
"""The parts that read what an edit starts from."""
RELIES_ON = {
    "readers": (*READING, "identity"),
    "photos": ("detector", *READING, "prototypes", "ganimation_age"),
    "finder": ("detector",),
    "provenance": ("detector",),
    "reenactment": (*READING, "head", "ganimation_age", "dual_generator"),
    "speed": (),
    "training": (),
    "age_estimator": (),
    "natural": (),
    "multipose": (),
    "fuzz": (),
    "load": (),
}
"""Results file -> the parts whose weights decide its figures; see also `relies_on`."""

SCORES = (
    ("readers", "age_mae_utkface", "UTKFace", "mae", "age, mean absolute error in years"),
    ("readers", "au_correlation_mean", "held-out faces", "pearsonr", "action units, mean correlation"),
    ("readers", "identity_auc", "CelebA", "roc_auc", "identity, area under the ROC curve"),
    ("finder", "recall", "ordinary photos", "recall", "faces found at IoU 0.5"),
    ("photos", "age_error_mean", "whole photos", "mae", "age edits, error of the mean age in years"),
    ("photos", "verification_mean", "whole photos", "accuracy", "age edits verified as the same person"),
    (
        "edits-*",
        "verification_mean",
        "faces of age 20-29",
        "accuracy",
        "age edits verified as the same person",
    ),
    ("edits-*", "age_error_mean", "faces of age 20-29", "mae", "age edits, error of the mean age in years"),
    ("edits-*", "au_correlation_mean", "faces of age 20-29", "pearsonr", "action units, asked and read"),
)
"""Results file, key of its summary, data, metric and its name: what the Hub shows beside the card."""


def own_folder() -> Path:
    """Where LICENSE.md, and facts.json and results/ of the shipped weights, are: in the package or the checkout."""
    inside = Path(__file__).parents[1] / "model_card"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "model_card"


def fingerprints(model: GanimeAge) -> dict[str, str]:
    """Part -> fingerprint of its weights; a results file holds them to say what it measured."""
    return {part: part_fingerprint(model, part) for part in model.parts}


def read_results(folder: Path) -> dict[str, Results]:
    """Every results file of a folder by its name; quick tries (NAME-quick.json) are no results."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder of results files; measure with training/evaluate.py")
    paths = sorted(path for path in folder.glob("*.json") if not path.stem.endswith("-quick"))
    return {path.stem: Results.read(path) for path in paths}


def relies_on(name: str, parts: Iterable[str]) -> tuple[str, ...]:
    """The parts whose weights decide the figures of a results file; all `parts` for a file of an unknown kind."""
    if name.startswith("edits-"):
        method = name.removeprefix("edits-")
        return *READING, METHODS[method].part if method in METHODS else method
    if name == "table1":
        return *READING, *dict.fromkeys(METHODS[method].part for method in table1_rows().values())
    return RELIES_ON.get(name, tuple(parts))


def check_current(found: Mapping[str, Results], model: GanimeAge) -> None:
    """BadInput names a results file that was measured on other weights than the model's."""
    own = fingerprints(model)
    for name, results in found.items():
        measured_on = {
            FORMER_PARTS.get(part, part): digits for part, digits in results.get("made_by", "weights").items()
        }
        for part in relies_on(name, own):
            if measured_on.get(part) != own.get(part):
                raise BadInput(
                    f"{results.path} was measured on other weights of {part} than these; measure again with "
                    f"`{results.get('made_by', 'command')}`"
                )


def render(
    model: GanimeAge,
    results: str | Path | None = None,
    *,
    repo: str | None = None,
    facts: str | Path | None = None,
    pictures: bool = True,
) -> str:
    """The card as Markdown with the Hub's metadata.

    results: folder of results files that were measured on this model; None renders a card without figures. repo: where
    the card will stand, for its examples; None is the embedded weights. facts: file with the training sets, the runs,
    the goals and remarks; None for weights whose training is not known here. pictures: whether the card shows those of
    `draw`.
    BadInput names a results file that is damaged or was measured on other weights, and a key that is missing.
    """
    found = read_results(Path(results)) if results else {}
    check_current(found, model)
    known = Facts.read(facts) if facts else None
    if known:
        found = {name: known.about(name, results) for name, results in found.items()}
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    text = _template("template.md").substitute(
        name=NAME,
        pictures=_shown(PICTURES) if pictures else "",
        failures=_shown(FAILURES) if pictures else "",
        kind=", ".join(parts()[part].description for part in model.parts),
        parameters=f"{millions:.1f}",
        fingerprint=fingerprint(model),
        source=f'"{repo}"' if repo else "",
        option=f" --weights {repo}" if repo else "",
        known_failures=_listed(known.remarks("failures")) if known else UNKNOWN_FAILURES,
        known_bias=_listed(known.remarks("bias")) if known else UNKNOWN_BIAS,
        data=_data(known) if known else UNKNOWN_DATA,
        measured=measured(found) or "These weights have not been measured.",
    )
    return f"---\n{metadata(found).to_yaml()}\n---\n{text}"


def metadata(found: Mapping[str, Results]) -> ModelCardData:
    """The YAML block: what the Hub lists and filters by, with the scores that were measured as a model-index."""
    return ModelCardData(
        model_name=NAME,
        library_name=NAME,
        license="other",
        license_name="research-non-commercial",
        license_link="LICENSE.md",
        pipeline_tag=TASK,
        tags=["face-editing", "face-aging", "action-units", "safetensors"],
        eval_results=[score for name, results in found.items() for score in _scores(name, results)] or None,
    )


def write_card(
    folder: str | Path,
    model: GanimeAge,
    results: str | Path | None = None,
    *,
    repo: str | None = None,
    facts: str | Path | None = None,
) -> dict[str, Path]:
    """Render the card into a folder: README.md, LICENSE.md and, drawn by this model, figures/.

    Returns the files by their path in a repository, as `GanimeAge.push_to_hub` takes them. Other keywords: as `render`.
    MissingModel when scikit-image, which brings the photo, is not installed.
    """
    folder = Path(folder)
    found = read_results(Path(results)) if results else {}
    check_current(found, model)  # before time is spent on pictures
    pictures = draw(model, folder / "figures")
    text = render(model, results, repo=repo, facts=facts, pictures=bool(pictures))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "LICENSE.md").write_bytes((own_folder() / "LICENSE.md").read_bytes())
    names = ["README.md", "LICENSE.md", *(f"figures/{name}" for name in pictures)]
    if "table1" in found:
        (folder / "figures").mkdir(exist_ok=True)
        chart = (
            table1_chart(found["table1"]).convert("RGB").quantize(64)
        )  # a third of the bytes, no colour lost
        chart.save(folder / "figures" / FIGURE, optimize=True)
        names.append(f"figures/{FIGURE}")
    return {name: folder / name for name in names}


UNKNOWN_DATA = """## Training data

These are not the weights that ship with ganime_age. Whoever made them: say here what they were trained on, under which
terms, and at what cost."""
UNKNOWN_FAILURES = "- Whoever made these weights: say here what they get wrong."
UNKNOWN_BIAS = (
    "- Who is in the training data decides for whom these weights work; their maker alone knows who is."
)


def _template(name: str) -> Template:
    return Template((Path(__file__).parent / name).read_text(encoding="utf-8"))


def _shown(pictures: Mapping[str, str]) -> str:
    """Pictures of the figures folder with their captions."""
    return "\n\n".join(f"![{caption}](figures/{name})\n\n*{caption}*" for name, caption in pictures.items())


def _listed(remarks: Sequence[str]) -> str:
    return "\n".join(fill(remark, 120, initial_indent="- ", subsequent_indent="  ") for remark in remarks)


def _data(known: Facts) -> str:
    """Training sets and cost, from the facts file."""
    facts = known.given
    sets = [[row["name"], row["faces"], row["labels"], row["terms"]] for row in facts.get("sets")]
    runs = [[run["network"], run["minutes"]] for run in facts.get("runs")]
    hours, cores = sum(minutes for _, minutes in runs) / 60, facts.get("cores")
    cost = table(["trained", "minutes"], runs)
    total = f"{hours:.1f} hours on a machine of {cores} cores, so {hours * cores:.1f} core hours at most"
    return (
        _template("data.md")
        .substitute(
            sets=f"{table(['set', 'faces', 'labels', 'terms'], sets)}\n\nCounted: {facts.get('sets_source')}.",
            remarks="\n\n".join(fill(remark, 120) for remark in known.remarks("data")),
            cost=f"{cost}\n\n{total}; {facts.get('runs_source')}.",
        )
        .rstrip()
    )


def _scores(name: str, results: Results) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=data.lower().replace(" ", "-"),
            dataset_name=f"{data}, test split",
            metric_type=metric,
            metric_name=label,
            metric_value=round(results.get("summary", key), 4),
        )
        for file, key, data, metric, label in SCORES
        if name == file or (file.endswith("*") and name.startswith(file[:-1]))
        if results.has("summary", key)
    ]
