"""GanimeAge and the Hub over real HTTP, against a stand-in on loopback: push, pull, refusals, faults."""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, constants
from safetensors.torch import load_file

from ganime_age.cli import main as cli
from ganime_age.errors import BadInput, GanimeAgeError, MissingModel
from ganime_age.model import hub
from ganime_age.model.model import GanimeAge
from ganime_age.model.storage import save
from helpers.fakehub import TOKEN
from helpers.hub import FACES, environment
from helpers.tiny import TINY, same


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A small model that no other has the numbers of, and the files that save_pretrained makes of it."""
    torch.manual_seed(1)
    model = GanimeAge(**TINY).eval()
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    model.save_pretrained(folder, variant="fp16")
    return model, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def pushed(online, tiny):
    """The tiny model in a public repository."""
    online.add(FACES, dict(tiny[1]))
    return online


def refusal(source=FACES, kind=MissingModel, **keywords) -> str:
    with pytest.raises(kind) as caught:
        GanimeAge.from_pretrained(source, **keywords)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 300
    return said


LOADED = """
import hashlib, torch
from ganime_age import GanimeAge
model = GanimeAge.from_pretrained("me/faces")
ages, units = torch.tensor([30.0, 70.0]), torch.linspace(0, 5, 34).view(2, 17)
face = torch.linspace(-1, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64)
with torch.inference_mode():
    edited = model.edit(face, ages, ages.flip(0), units, units.flip(1))
print(hashlib.sha256(edited.face.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_what_is_pushed_is_pulled_in_a_fresh_process_bit_for_bit_and_offline_from_the_cache(
    online, tiny, tmp_path
):
    address = tiny[0].push_to_hub(FACES, token=TOKEN)
    assert address.startswith(f"{online.url}/{FACES}/commit/")
    ages, units = torch.tensor([30.0, 70.0]), torch.linspace(0, 5, 34).view(2, 17)
    face = torch.linspace(-1, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64)
    with torch.inference_mode():
        edited = tiny[0].edit(face, ages, ages.flip(0), units, units.flip(1))
    wanted = hashlib.sha256(edited.face.numpy().tobytes()).hexdigest()
    for offline in ("0", "1"):
        environ = environment(online, tmp_path / "its cache", HF_HUB_OFFLINE=offline)
        online.seen.clear()
        done = subprocess.run(
            [sys.executable, "-c", LOADED], env=environ, capture_output=True, text=True, timeout=300
        )
        assert done.stdout.strip() == wanted, done.stderr
        assert bool(online.seen) == (offline == "0")


def test_loading_is_quiet_costs_two_questions_and_none_without_the_network(pushed, tiny, capfd):
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    pushed.seen.clear()
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert [method for method, _ in pushed.seen] == ["HEAD", "HEAD"]
    pushed.seen.clear()
    assert same(GanimeAge.from_pretrained(FACES, local_files_only=True), tiny[0])
    assert pushed.seen == []
    assert capfd.readouterr().out == ""


def test_branches_tags_commits_and_pull_requests(online, tiny):
    model = tiny[0]
    model.push_to_hub(FACES, token=TOKEN)
    HfApi(token=TOKEN).create_tag(FACES, tag="v1")
    first = online.repos[FACES].refs["v1"]
    other = GanimeAge(**TINY)
    assert "/commit/" in other.push_to_hub(FACES, branch="try", token=TOKEN, commit_message="Another")
    assert same(GanimeAge.from_pretrained(FACES), model)
    assert same(GanimeAge.from_pretrained(FACES, revision="try"), other)
    for revision in ("v1", first):
        assert same(GanimeAge.from_pretrained(FACES, revision=revision), model)
    before = dict(online.repos[FACES].refs)
    address = other.push_to_hub(FACES, create_pr=True, token=TOKEN)
    assert address.endswith("/discussions/1") and online.repos[FACES].refs["main"] == before["main"]
    assert same(GanimeAge.from_pretrained(FACES, revision="refs/pr/1"), other)


def test_both_files_come_from_one_commit_while_somebody_pushes(pushed, tiny):
    repo, other = (
        pushed.repos[FACES],
        GanimeAge(**TINY | {"readers": TINY["readers"] | {"widths": [8, 8, 8, 8]}}),
    )

    def push_between(request) -> bool:
        if request.path.endswith("model.safetensors"):
            pushed.fault = None
            other.push_to_hub(FACES, token=TOKEN)
        return False

    pushed.fault = push_between
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert len(repo.commits) == 2 and same(GanimeAge.from_pretrained(FACES), other)


def test_subfolder_variant_dtype_and_parts(pushed, tiny):
    pushed.add("me/nested", {f"a/b/{name}": data for name, data in tiny[1].items()})
    assert same(GanimeAge.from_pretrained("me/nested", subfolder="a/b"), tiny[0])
    assert "holds no config.json, so it holds no ganime_age weights" in refusal("me/nested")
    half = GanimeAge.from_pretrained(FACES, variant="fp16", dtype="auto", parts=["readers"])
    assert half.parts == ("readers",) and half.readers.age_head.weight.dtype == torch.float16
    assert not any(path.startswith(f"/{FACES}/") and "/model.safe" in path for _, path in pushed.seen)
    assert "holds no model.bf16.safetensors; ask for another variant" in refusal(variant="bf16")
    assert "unknown variant 'tiny'; choose from fp16, bf16" in refusal(kind=BadInput, variant="tiny")
    assert "leads out of the weights" in refusal(kind=BadInput, subfolder="../..")


@pytest.fixture
def in_parts(online, tiny, tmp_path):
    """The tiny model in a repository whose weights lie in several files, and these by name."""
    size = len(tiny[1]["model.safetensors"])
    save(tiny[0], tmp_path / "parts", largest=size // 3)
    files = {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    assert len(files) > 4 and "model.safetensors" not in files
    online.add(FACES, files)
    return files


def test_weights_in_parts_are_loaded_whole_and_offline_from_the_cache(in_parts, online, tiny, monkeypatch):
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    online.seen.clear()
    assert same(GanimeAge.from_pretrained(FACES, local_files_only=True), tiny[0])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert online.seen == []


def test_a_part_that_is_missing_and_an_index_that_leads_out_are_named(in_parts, online):
    parts = sorted(name for name in in_parts if "-of-" in name)
    online.add(FACES, {name: data for name, data in in_parts.items() if name != parts[1]})
    assert parts[1] in refusal()
    index = {"metadata": {}, "weight_map": {"readers.age_head.weight": "../../else.safetensors"}}
    online.add(FACES, in_parts | {"model.safetensors.index.json": json.dumps(index).encode()})
    assert "model.safetensors.index.json is damaged" in refusal()


def test_an_index_damaged_in_the_cache_is_named_and_force_download_mends_it(in_parts, online, tiny):
    GanimeAge.from_pretrained(FACES)
    (index,) = cached_files("model.safetensors.index.json", constants.HF_HUB_CACHE)
    index.write_text("{")
    assert "is damaged" in refusal()
    assert same(GanimeAge.from_pretrained(FACES, force_download=True), tiny[0])


def test_the_six_refusals_differ_and_each_says_what_to_do(pushed, tiny, tmp_path):
    pushed.add("me/private", tiny[1], private=True)
    pushed.add("her/gated", tiny[1], gated=True)
    (tmp_path / "damaged").mkdir()
    for name, data in tiny[1].items():
        (tmp_path / "damaged" / name).write_bytes(data[: len(data) // 2] if "model" in name else data)
    said = {
        "unknown": refusal("me/nothing", token=TOKEN),
        "private": refusal("me/private"),
        "gated": refusal("her/gated"),
        "revision": refusal(revision="v9"),
        "folder": refusal("./nowhere"),
        "offline": refusal("me/never", local_files_only=True),
        "damaged": refusal(tmp_path / "damaged"),
    }
    assert len(set(said.values())) == len(said)
    assert "no model on the Hub of that name that your token sees" in said["unknown"]
    assert (
        "there is no folder me/private, and on the Hub it is private or absent; check the name, or log in"
        in said["private"]
    )
    assert (
        "is gated; ask for access on its page on the Hub, then log in with `hf auth login`" in said["gated"]
    )
    assert "has no revision 'v9'; give one of its branches, tags or commits" in said["revision"]
    assert "./nowhere is not a folder with weights; give a folder or a Hub repository" in said["folder"]
    assert "me/never is not in the local cache and local_files_only forbids to download" in said["offline"]
    assert "model.safetensors is damaged" in said["damaged"] and "force_download=True" in said["damaged"]
    assert same(GanimeAge.from_pretrained("me/private", token=TOKEN), tiny[0])
    assert "is gated; ask for access" in refusal("her/gated", token="hf_stranger")
    assert "no token is stored on this machine" in refusal(token=True)


def test_a_repository_of_pickles_is_refused_and_not_even_downloaded(online, tiny):
    online.add("me/old", {"config.json": tiny[1]["config.json"], "pytorch_model.bin": b"evil"})
    assert "holds no model.safetensors" in refusal("me/old")
    assert not any(path.endswith(".bin") for _, path in online.seen)


def answering(status: int, times: int = 99, suffix: str = "", **headers):
    """A fault: `status` instead of the first `times` answers to requests whose path ends with `suffix`."""
    left = iter(range(times))

    def fault(request) -> bool:
        if not request.path.endswith(suffix) or next(left, None) is None:
            return False
        request.answer(b"<html>busy</html>", status, **headers)
        return True

    return fault


def test_a_busy_hub_is_asked_again_and_it_is_said(pushed, tiny, caplog):
    pushed.fault = answering(503, times=2)
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert [record.message for record in caplog.records if record.name == hub.__name__] == [
        "the Hub did not answer well (HTTP 503); trying again in 0 s"
    ] * 2


@pytest.mark.parametrize(
    ("status", "words"), [(500, "500 (a fault on its side)"), (429, "429 (too many requests)")]
)
@pytest.mark.parametrize("suffix", ["config.json", "model.safetensors"])
def test_a_hub_that_stays_busy_is_one_sentence_after_three_tries(pushed, status, words, suffix):
    pushed.fault = answering(status, suffix=suffix)
    assert f"which answers {words}; try again later" in refusal()
    assert len([path for _, path in pushed.seen if path.endswith(suffix)]) == 3


def test_a_hub_that_is_away_is_replaced_by_the_cache_or_one_sentence(pushed, tiny, monkeypatch, caplog):
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    pushed.fault = answering(502)
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert "is taken from the cache" in caplog.text
    assert "answers 502" in refusal(force_download=True)
    nobody = "http://127.0.0.1:9"
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", nobody + "/{repo_id}/resolve/{revision}/{filename}"
    )
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert "me/other is not in the local cache and the Hub cannot be reached" in refusal("me/other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])
    assert (
        refusal("me/other")
        == "me/other is not in the local cache and HF_HUB_OFFLINE forbids to download it; unset HF_HUB_OFFLINE"
    )
    assert "contradict each other" in refusal(kind=BadInput, force_download=True, local_files_only=True)


def test_a_hub_that_does_not_answer_is_given_up(pushed, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    asked, given_up = threading.Event(), threading.Event()

    def silent(request) -> bool:
        asked.set()
        given_up.wait(300)
        request.close_connection = True
        return True

    pushed.fault = silent
    try:
        assert "is not in the local cache and the Hub cannot be reached" in refusal()
        assert asked.is_set() and len(pushed.seen) == 1
    finally:
        given_up.set()


@pytest.mark.parametrize(("status", "most"), [(429, 60), (500, 5)])
def test_a_download_that_is_refused_is_one_sentence_in_bounded_time(pushed, monkeypatch, status, most):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    busy = answering(status)
    pushed.fault = lambda request: request.command == "GET" and busy(request)
    assert f"which answers {status}" in refusal()
    assert sum(waits) < most


@pytest.mark.parametrize(("status", "headers"), [(200, {}), (302, {"Location": "http://login.example/"})])
def test_a_login_page_of_the_network_is_named(pushed, status, headers):
    pushed.fault = answering(status, Content_Type="text/html", **headers)
    assert "something else answers in its place, a login page or a proxy" in refusal()


@pytest.mark.parametrize(
    ("status", "words"), [(401, "does not accept the token"), (403, "does not allow this")]
)
def test_a_token_that_is_refused_is_named(pushed, status, words):
    message = "Invalid credentials in Authorization header"
    pushed.fault = answering(status, X_Error_Message=message)
    assert words in refusal(token="hf_expired") and len(pushed.seen) == 1


def cached_files(name: str, cache) -> list[Path]:
    return [path for path in Path(cache).rglob(name) if "snapshots" in path.parts]


def test_a_short_answer_is_refused_and_never_used(pushed, tiny):
    def cut(request) -> bool:
        if request.command != "GET" or not request.path.endswith("model.safetensors"):
            return False
        data = tiny[1]["model.safetensors"]
        request.answer(data[: len(data) // 2])
        return True

    pushed.fault = cut
    assert "the download of model.safetensors from me/faces broke off; try again" in refusal()
    assert cached_files("model.safetensors", constants.HF_HUB_CACHE) == []
    pushed.fault = None
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])


def test_a_killed_download_leaves_no_half_file_and_the_next_load_works(pushed, tiny):
    halfway, killed = threading.Event(), threading.Event()

    def stall(request) -> bool:
        if request.command != "GET" or not request.path.endswith("model.safetensors"):
            return False
        data = tiny[1]["model.safetensors"]
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: len(data) // 2])
        request.wfile.flush()
        halfway.set()
        killed.wait(300)
        request.close_connection = True
        return True

    pushed.fault = stall
    process = subprocess.Popen(
        [sys.executable, "-c", LOADED],
        env=environment(pushed, constants.HF_HUB_CACHE),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert halfway.wait(300)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    finally:
        process.kill()
        killed.set()
    assert cached_files("model.safetensors", constants.HF_HUB_CACHE) == []
    pushed.fault = None
    assert same(GanimeAge.from_pretrained(FACES), tiny[0])


def test_a_file_damaged_in_the_cache_is_named_and_force_download_mends_it(pushed, tiny):
    GanimeAge.from_pretrained(FACES)
    (file,) = cached_files("model.safetensors", constants.HF_HUB_CACHE)
    file.resolve().write_bytes(tiny[1]["model.safetensors"][:5000])
    assert "damaged" in refusal() and "force_download=True" in refusal()
    assert same(GanimeAge.from_pretrained(FACES, force_download=True), tiny[0])


def test_a_cache_that_cannot_be_written_is_named(pushed, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be stored here" in refusal(cache_dir=tmp_path / "file" / "cache")


def test_pushing_keeps_a_readme_that_is_there_and_takes_one_that_is_given(online, tiny, tmp_path):
    model, card = tiny[0], tmp_path / "rendered.md"
    files = lambda: online.repos[FACES].commits[online.repos[FACES].refs["main"]]  # noqa: E731
    model.push_to_hub(FACES, token=TOKEN)
    assert b"library_name: ganime_age" in files()["README.md"]
    card.write_text("---\nlicense: other\n---\nMine.")
    model.push_to_hub(FACES, token=TOKEN, files={"README.md": card, "figures/a.md": card})
    assert files()["README.md"] == files()["figures/a.md"] == card.read_bytes()
    GanimeAge(**TINY).push_to_hub(FACES, token=TOKEN)
    assert files()["README.md"] == card.read_bytes()
    assert set(files()) == {".gitattributes", "README.md", "config.json", "figures/a.md", "model.safetensors"}
    assert json.loads(files()["config.json"])["readers"] == TINY["readers"]


def test_pushing_private_is_private_or_refused(pushed, tiny):
    tiny[0].push_to_hub("me/secret", private=True, token=TOKEN)
    assert pushed.repos["me/secret"].private
    with pytest.raises(BadInput, match="me/faces exists and is public; make it private"):
        tiny[0].push_to_hub(FACES, private=True, token=TOKEN)
    assert len(pushed.repos[FACES].commits) == 1


@pytest.mark.parametrize(
    ("repo", "keywords", "words"),
    [
        (FACES, {}, "log in with `hf auth login`"),
        (FACES, {"token": "hf_stranger"}, "does not accept the token"),
        ("her/faces", {"token": TOKEN}, "does not allow this with her/faces"),
        ("a b/c", {"token": TOKEN}, "'a b/c' is no name of a Hub repository"),
    ],
)
def test_a_push_that_is_refused_is_one_sentence(online, tiny, repo, keywords, words):
    with pytest.raises(GanimeAgeError) as caught:
        tiny[0].push_to_hub(repo, **keywords)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert online.repos == {}


def test_a_push_offline_and_one_of_what_cannot_be_loaded(online, tiny, monkeypatch, tmp_path):
    broken = GanimeAge(**TINY)
    with torch.no_grad():
        broken.readers.age_head.bias[3] = float("nan")
    with pytest.raises(BadInput, match="readers.age_head.bias holds NaN"):
        broken.push_to_hub(FACES, token=TOKEN)
    with pytest.raises(BadInput, match="none.md cannot be read"):
        tiny[0].push_to_hub(FACES, token=TOKEN, files={"README.md": tmp_path / "none.md"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModel, match="because HF_HUB_OFFLINE is set; unset it"):
        tiny[0].push_to_hub(FACES, token=TOKEN)
    assert online.seen == []


def test_a_name_that_cannot_be_is_the_first_thing_the_command_line_says(online, tmp_path, capsys):
    assert cli.main(["push", "bad name", "--weights", str(tmp_path / "none")]) == 2
    assert "'bad name' is no name of a Hub repository; give one such as org/name" in capsys.readouterr().err


def test_the_command_line_pushes_a_folder_and_loads_a_revision(online, tiny, tmp_path, monkeypatch, capsys):
    for name, data in tiny[1].items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert cli.main(["push", FACES, "--weights", str(tmp_path), "--branch", "v2", "--private"]) == 0
    assert f"{online.url}/{FACES}/commit/" in capsys.readouterr().out
    pushed = online.repos[FACES].commits[online.repos[FACES].refs["v2"]]
    assert pushed["model.safetensors"] == tiny[1]["model.safetensors"]
    assert cli.main(["push", FACES, "--weights", f"{FACES}@v2", "--pr"]) == 0
    assert capsys.readouterr().out.strip().endswith("/discussions/1")
    assert cli.main(["read", "photo.jpg", "--weights", f"{FACES}@v9"]) == 3
    assert capsys.readouterr().err == (
        f"ganime-age: {FACES} has no revision 'v9'; give one of its branches, tags or commits\n"
    )


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("me/faces", ("me/faces", None)),
        ("me/faces@v1", ("me/faces", "v1")),
        ("me/faces@", ("me/faces@", None)),
        ("@v1", ("@v1", None)),
    ],
)
def test_a_revision_is_what_stands_after_the_at(text, halves):
    assert hub.split_revision(text) == halves


def test_a_path_that_exists_is_a_path_whatever_it_holds(tmp_path):
    (tmp_path / "run@3").mkdir()
    assert hub.split_revision(str(tmp_path / "run@3")) == (str(tmp_path / "run@3"), None)
    with pytest.raises(BadInput, match="is a folder and has no revision 'v1'"):
        GanimeAge.from_pretrained(tmp_path, revision="v1")


def test_half_precision_files_are_half_as_large(tiny, tmp_path):
    for name, data in tiny[1].items():
        (tmp_path / name).write_bytes(data)
    half = load_file(tmp_path / "model.fp16.safetensors")
    full = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(half[key].float(), full[key].half().float()) for key in full)
    assert len(tiny[1]["model.fp16.safetensors"]) < 0.7 * len(tiny[1]["model.safetensors"])


def held(online, repo: str = FACES) -> dict[str, bytes]:
    """The files of a repository's main branch."""
    found = online.repos[repo]
    return found.commits[found.refs["main"]]


def test_the_mixins_keywords_push(online, tiny, tmp_path, monkeypatch):
    model = tiny[0]
    monkeypatch.setattr(
        GanimeAge, "generate_model_card", lambda self, author="?": ModelCard(f"# By {author}")
    )
    push = {
        "token": TOKEN,
        "private": True,
        "commit_message": "First",
        "model_card_kwargs": {"author": "me"},
    }
    address = model.save_pretrained(tmp_path / "faces", push_to_hub=True, repo_id="me/named", **push)
    assert address.startswith(f"{online.url}/me/named/commit/") and online.repos["me/named"].private
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    assert held(online, "me/named")["README.md"].endswith(b"# By me")
    model.push_to_hub(repo_id=FACES, token=TOKEN, create_pr=None, variant="fp16")
    assert "model.fp16.safetensors" in held(online)
    model.push_to_hub(repo_id=FACES, token=TOKEN, delete_patterns="*.fp16.*", ignore_patterns=["README.md"])
    assert {"config.json", "model.safetensors"} <= set(held(online)) and "model.fp16.safetensors" not in held(
        online
    )
    before = held(online)["model.safetensors"]
    GanimeAge(**TINY).push_to_hub(FACES, token=TOKEN, allow_patterns="*.json")
    assert held(online)["model.safetensors"] == before
    with pytest.raises(BadInput, match="leave no file to push"):
        model.push_to_hub(FACES, token=TOKEN, allow_patterns="*.bin")


def test_a_config_that_is_given_is_written_if_it_describes_the_tensors(tiny, tmp_path):
    model = tiny[0]
    model.save_pretrained(tmp_path / "one", config=TINY | {"crop_scale": 1.25})
    assert GanimeAge.from_pretrained(tmp_path / "one").crop_scale == 1.25
    with pytest.raises(BadInput, match="config no longer describes its tensors"):
        model.save_pretrained(tmp_path / "two", config=TINY | {"ragan": {"widths": [8, 16]}})
    assert not (tmp_path / "two").exists()


def test_the_mixins_hooks_save_and_load(tiny, tmp_path):
    tiny[0]._save_pretrained(tmp_path)
    request = dict.fromkeys(("revision", "cache_dir", "token"))
    loaded = GanimeAge._from_pretrained(
        model_id=str(tmp_path), force_download=False, local_files_only=True, map_location="cpu", **request
    )
    assert same(loaded, tiny[0]) and not any(p.requires_grad for p in loaded.parameters())
