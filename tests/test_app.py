"""The page as a program sees it: its endpoints over HTTP, what it takes in, and what its handlers do."""

import asyncio
import base64
import html
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from copy import copy
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from helpers.clips import make_clip, pictures_of, sound_of

gr = pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")

from gradio_client import Client, handle_file  # noqa: E402

from ganime_age import FaceEditor, GanimeAge, verify  # noqa: E402
from ganime_age.edits import AGE_GROUPS, AU_CODES, AU_UNSEEN, LABELLED_AUS, age_group  # noqa: E402
from ganime_age.errors import BadInput  # noqa: E402
from ganime_age.networks.denoising.distilled import Distilled  # noqa: E402
from ganime_age.space import (  # noqa: E402
    age,
    clips,
    driving,
    expression,
    files,
    jobs,
    loader,
    page,
    report,
    sketch,
)
from ganime_age.space.handlers import Handlers, Seen, answering  # noqa: E402
from ganime_age.space.handlers.visit import cut_off, found  # noqa: E402

ROOT = Path(__file__).parent.parent
ENDPOINTS = {"/edit", "/progression", "/reenact", "/animate", "/edit_clip", "/read", "/compare"}


@pytest.fixture(scope="module")
def blocks(editor):
    return page.build(editor)


@pytest.fixture(scope="module")
def address(blocks):
    """The page, served on this machine for the tests of this file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = {**page.LAUNCH, "prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"}
    _, url, _ = blocks.launch(**launch, server_port=port)
    yield url
    blocks.close()


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture
def photo(portrait_file):
    return handle_file(portrait_file)


@pytest.fixture(scope="module")
def drive(portrait, tmp_path_factory):
    """A clip of a third of a second, and the same as a GIF: the portrait moves to the right."""
    pictures = [np.roll(portrait, 2 * i, axis=1) for i in range(4)]
    clip = make_clip(tmp_path_factory.mktemp("drive") / "drive.mp4", pictures)
    first, *rest = map(Image.fromarray, pictures)
    first.save(clip.with_suffix(".gif"), save_all=True, append_images=rest, duration=80)
    return clip


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def refusal(call, *args, **kwargs):
    """The sentence with which a call is refused."""
    with pytest.raises(Exception) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_endpoints_with_types_and_words(client):
    found = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(found) == ENDPOINTS
    for name, endpoint in found.items():
        given = {p["parameter_name"]: p for p in endpoint["parameters"]}
        first = given.get("photo") or given["clip"]
        assert first["python_type"]["type"] == "filepath", name
        assert all(p["label"] == p["parameter_name"] for p in endpoint["parameters"])
        assert all(len(p["python_type"]["description"]) > 15 for p in endpoint["parameters"]), name
        assert all(len(p["python_type"]["description"]) > 8 for p in endpoint["returns"]), name
        assert (
            given["consent"]["python_type"]["type"] == "bool"
            and given["consent"]["parameter_default"] is False
        )
        assert all(p["python_type"]["type"] for p in endpoint["parameters"])
        assert len(endpoint["description"]) > 20


def test_edit_gives_the_photo_at_its_own_size_marked_and_a_report_that_is_true(client, photo, portrait):
    path, said = client.predict(
        photo, age=75, action_units={"AU12": 1, "AU04": 2}, consent=True, api_name="/edit"
    )
    after = pixels(path)
    assert Path(path).suffix == ".png" and after.shape == portrait.shape
    assert np.abs(after - portrait).max() > 8
    assert said["asked"]["age"] == 75 and set(said["asked"]["action_units"]) == {"AU04", "AU12"}
    assert said["reading"]["age"] > said["source_reading"]["age"] + 15
    assert -1 <= said["identity"] <= 1 and said["method"] == "ganimation_age" and said["seconds"] > 0
    assert verify(path).edited and verify(path).record["age"] == 75


def test_strength_a_corrected_age_and_relative_action_units(client, photo):
    ask = {"consent": True, "api_name": "/edit"}
    ages = []
    for more in ({"strength": 1.0}, {"strength": 0.4}, {"source_age": 60}):
        _, said = client.predict(photo, age=75, **more, **ask)
        assert "landmarks" not in said["reading"]  # unless they are asked for
        ages.append(said["reading"]["age"])
    assert ages[1] < ages[0] - 5 and ages[2] < ages[0] - 5
    _, said = client.predict(photo, action_units={"AU04": 1.5}, relative=True, **ask)
    assert said["asked"]["action_units"]["AU04"] > 1.4
    assert "Strength 2" in refusal(client.predict, photo, age=75, strength=2, **ask)


def test_a_turned_head_and_parts_of_an_age(client, photo):
    ask = {"consent": True, "api_name": "/edit"}
    _, said = client.predict(photo, landmarks=True, turn=[12, 0, 0], **ask)
    assert len(said["reading"]["landmarks"]) == 68
    assert said["asked"]["turn"]["yaw"] == 12 and said["reading"]["yaw"] > said["source_reading"]["yaw"] + 4
    _, said = client.predict(photo, age=85, parts=["hair"], **ask)
    assert said["asked"]["parts"] == ["hair"]
    assert "Yaw 40 is out of range" in refusal(client.predict, photo, turn=[40, 0, 0], **ask)


def test_the_face_in_a_clip(client, drive):
    path, said = client.predict(handle_file(drive), age=75, consent=True, api_name="/edit_clip")
    assert said["edited"] == said["frames"] == 4 and len(pictures_of(path)) == 4


def test_nothing_asked_gives_the_same_picture(client, photo, portrait):
    path, said = client.predict(photo, consent=True, api_name="/edit")
    assert np.array_equal(pixels(path), portrait) and said["edited"] is False


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_other_formats(client, photo, format):
    path, _ = client.predict(photo, age=60, format=format, consent=True, api_name="/edit")
    assert Image.open(path).format == {"jpg": "JPEG", "webp": "WEBP"}[format]


def test_the_second_face(client, two_faces, tmp_path):
    path = tmp_path / "two.png"
    Image.fromarray(two_faces).save(path)
    readings = client.predict(handle_file(path), consent=True, api_name="/read")
    assert len(readings) == 2 and "identity" not in readings[0]
    edited, _ = client.predict(handle_file(path), age=80, face=1, consent=True, api_name="/edit")
    changed = np.abs(pixels(edited) - two_faces).max(2) > 0
    assert changed[:, 330:].any() and not changed[:, :150].any()
    assert "Face 5 does not exist" in refusal(
        client.predict, handle_file(path), age=80, face=5, consent=True, api_name="/edit"
    )


def test_progression_and_compare(client, photo):
    pictures, said = client.predict(photo, [10, 70], consent=True, api_name="/progression")
    assert len(pictures) == 2 and said[0]["reading"]["age"] + 20 < said[1]["reading"]["age"]
    pictures, said = client.predict(photo, age=60, consent=True, api_name="/compare")
    assert [one["method"] for one in said] == ["ganimation_age", "agetransgan", "ragan"]
    assert len(pictures) == 3


def test_reenact_by_a_photo_and_by_a_clip(client, photo, drive, portrait):
    ask = {"consent": True, "api_name": "/reenact"}
    path, said = client.predict(photo, photo, age=70, **ask)
    assert pixels(path).shape == portrait.shape and said["driving_reading"]["age"] > 0
    for clip in (drive, drive.with_suffix(".gif")):
        path, said = client.predict(photo, handle_file(clip), **ask)
        assert said["frames"] == 4 and len(pictures_of(path)) == 4


def test_what_the_api_gives_back_is_deleted_in_time(address, blocks, photo):
    """The page's timer deletes the files that it knows of; here it is run at once, as if an hour had passed."""
    from gradio.route_utils import delete_files_created_by_app

    client = Client(address, verbose=False, download_files=False)
    made, _ = client.predict(photo, consent=True, api_name="/edit")
    assert blocks.delete_cache[1] == files.HOUR
    delete_files_created_by_app(blocks, age=files.HOUR)
    assert Path(made["path"]).is_file()
    delete_files_created_by_app(blocks, age=0)
    assert not Path(made["path"]).exists()


@pytest.mark.parametrize("format", ["mp4", "gif"])
def test_animate(client, photo, format):
    asked = [{"age": 70, "action_units": {"AU12": 1}}]
    path, said = client.predict(photo, asked, seconds=0.4, format=format, consent=True, api_name="/animate")
    frames = [picture for picture, _ in pictures_of(path)]
    assert Path(path).suffix == f".{format}" and len(frames) == said["frames"] == 5
    middle, ends = frames[2].astype(int), frames[0].astype(int)
    assert np.abs(middle - ends).mean() > np.abs(frames[-1].astype(int) - ends).mean()


def test_every_endpoint_asks_for_consent(client, photo):
    more = {"/reenact": [photo], "/animate": [[{"age": 70}]]}
    for name in ENDPOINTS:
        assert "consent=True" in refusal(client.predict, photo, *more.get(name, []), api_name=name), name


def test_what_cannot_be_used_is_one_sentence(client, photo, tmp_path, faceless, drive):
    note, empty = tmp_path / "note.png", tmp_path / "empty.png"
    note.write_text("no picture")
    Image.fromarray(faceless).save(empty)
    ask = {"consent": True, "api_name": "/edit"}
    assert "is not a readable image" in refusal(client.predict, handle_file(note), **ask)
    assert "No face was found in the photo" in refusal(client.predict, handle_file(empty), **ask)
    assert "Age 500" in refusal(client.predict, photo, age=500, **ask)
    assert "Unknown action unit" in refusal(client.predict, photo, action_units={"AU99": 1}, **ask)
    assert "AU12=9" in refusal(client.predict, photo, action_units={"AU12": 9}, **ask)
    assert "Unknown method" in refusal(client.predict, photo, method="magic", **ask)
    many = {"consent": True, "api_name": "/progression"}
    assert "13 ages" in refusal(client.predict, photo, [20] * 13, **many)
    still = {"consent": True, "api_name": "/animate"}
    assert "11.0 seconds" in refusal(client.predict, photo, [{"age": 70}], seconds=11.0, **still)
    for sentence in (refusal(client.predict, handle_file(empty), **ask),):
        assert str(tmp_path) not in sentence and "Traceback" not in sentence


def post(address, endpoint, data):
    """An endpoint by plain HTTP, past what a client would refuse; the last event's text."""
    url = f"{address}gradio_api/call{endpoint}"
    asked = urllib.request.Request(
        url, json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}/{event}") as answer:
        return answer.read().decode()


def test_the_servers_files_data_addresses_and_odd_endings_are_refused(address, portrait_file, drive):
    inline = {"path": "", "url": "data:image/png;base64,iVBORw0KGgo="}
    meta = {"meta": {"_type": "gradio.FileData"}}
    for file in (
        {"path": str(portrait_file)},
        inline,
        {"path": "x.png", **inline},
        {"path": str(portrait_file), **meta},
    ):
        assert "event: error" in post(address, "/read", [file, True])
        assert "age_spread" not in post(address, "/read", [file, True])
    mine = upload(address, portrait_file)
    assert "age_spread" in post(address, "/read", [mine, True])
    assert "event: error" in post(
        address, "/reenact", [mine, {"path": str(drive)}, None, None, True, 0, "png", "mp4", True]
    )
    answer = post(address, "/edit", [mine, 70, None, None, 0, "/../../../x.png", True])
    assert "event: error" in answer and "is unknown" in answer
    assert "event: error" in post(address, "/edit", [mine, "NaN", None, None, 0, "png", True])


def upload(address, path):
    """A file on the server as a browser puts it there."""
    boundary = "x" * 20
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}gradio_api/upload", body, kind)) as answer:
        return {"path": json.load(answer)[0], "meta": {"_type": "gradio.FileData"}}


def test_no_history_and_tools_for_mcp(address):
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{address}gradio_api/runs")
    pytest.importorskip("mcp", reason="MCP is not installed")
    with urllib.request.urlopen(f"{address}gradio_api/mcp/schema") as answer:
        tools = {tool["name"].removeprefix("ganime_age_"): tool for tool in json.load(answer)}
    assert set(tools) == {name[1:] for name in ENDPOINTS}
    assert "photo" in tools["edit"]["inputSchema"]["properties"]


def test_a_tool_of_mcp_gives_the_picture_and_the_report(address, portrait_file):
    mcp = pytest.importorskip("mcp", reason="MCP is not installed")
    from mcp.client.streamable_http import streamablehttp_client

    photo = "data:image/png;base64," + base64.b64encode(portrait_file.read_bytes()).decode()

    async def calls():
        async with (
            streamablehttp_client(f"{address}gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            asked = {"photo": photo, "consent": True}
            return [await session.call_tool("edit", {**asked, "age": age}) for age in (70, 700)]

    made, refused = asyncio.run(calls())
    picture, words = made.content[0], made.content[-1].text
    assert picture.type == "image" and len(base64.b64decode(picture.data)) > 10_000
    assert "'source_reading'" in words and "landmarks" not in words
    assert (
        refused.isError
        and refused.content[0].text == "Age 700 is out of range; give years between 0 and 100."
    )


def test_a_clip_that_is_too_long_or_is_none(tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(loader, "get_upload_folder", lambda: str(tmp_path))
    small = portrait[::4, ::4]
    long = loader.clip_of({"path": str(make_clip(tmp_path / "long.mp4", [small] * 30, fps=1))})
    with pytest.raises(BadInput, match="lasts 30 seconds; give one of at most 10, or a part of it"):
        clips.span_of(long, 0, None)
    assert clips.span_of(long, 12, 20.5) == (12, 20.5) and clips.span_of(long, 25, 30) == (25, None)
    for start, end, says in (
        (-1, 4, "cannot start at -1 seconds"), (30, None, "lasts 30.0 seconds and cannot start at 30"),
        (1, 31, "lasts 30.0 seconds and cannot end at 31"), (4, 3, "from 4 to 3 seconds is empty"),
        (float("nan"), 3, "cannot start at nan"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=says):
            clips.span_of(long, start, end)
    note = tmp_path / "note.mp4"
    note.write_text("no clip")
    with pytest.raises(BadInput, match="not a readable video"):
        loader.clip_of({"path": str(note)})
    with pytest.raises(BadInput, match="not here any more"):
        loader.clip_of({"path": str(tmp_path / "gone.mp4")})
    outside = gr.FileData(path="/etc/hostname")
    assert isinstance(loader.ClipInput().preprocess(outside), BadInput)
    assert isinstance(
        loader.PhotoInput().preprocess(gr.data_classes.ImageData(path="/etc/hostname")), BadInput
    )


def test_a_part_of_a_clip_has_its_pictures_and_its_sound_from_its_start(tmp_path):
    greys = [np.full((64, 64, 3), 40 + 10 * i, np.uint8) for i in range(16)]
    clip = make_clip(tmp_path / "long.mkv", greys, fps=8, sound="aac")
    span = clips.span_of(clip, 0.5, 1.25)
    part = clips.used(clip, span, tmp_path)
    shown = pictures_of(part)
    assert [round(float(p.mean())) for p, _ in shown] == pytest.approx([80, 90, 100, 110, 120, 130], abs=3)
    assert [time for _, time in shown] == pytest.approx([i / 8 for i in range(6)], abs=0.01)
    assert clips.first_picture(clip, span).mean() == pytest.approx(80, abs=3)
    (_, packets), (_, whole) = sound_of(part), sound_of(clip)
    assert 0.3 < len(packets) / len(whole) < 0.5
    whole = clips.used(clip, clips.Span(), tmp_path)  # browsers do not play MKV
    assert whole.suffix == ".mp4" and len(pictures_of(whole)) == 16
    assert clips.used(whole, clips.Span(), tmp_path) == whole


def test_a_clip_that_does_not_say_how_long_it_is_is_not_written_for_ever(tmp_path):
    clip = tmp_path / "live.mkv"
    with av.open(str(clip), "w", options={"live": "1"}) as container:  # as a browser records a webcam
        stream = container.add_stream("libx264", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(15):
            picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert clips.seconds_of(clip) == 0
    for span in (clips.Span(), clips.Span(1.0)):
        with pytest.raises(BadInput, match="goes on for too long; give one of at most 10 seconds"):
            clips.used(clip, span, tmp_path)
    assert list(tmp_path.iterdir()) == [clip]


# The handlers: what the page itself does, without a browser.


@pytest.fixture
def visit(editor):
    """Handlers, the page's parts, and the values of its controls as a visitor finds them."""
    with gr.Blocks():
        parts, _ = page.lay_out(jobs.Jobs(editor))
    return begun(Handlers(jobs.Jobs(editor), parts))


def begun(does):
    on = does.on
    given = {part: part.value for part in (*on.request(), on.stage.picture_format, on.makers.clip_format)}
    given |= {
        on.seen: Seen()._asdict(),
        on.found: None,
        on.reenact.clip: None,
        on.reenact.start: 0,
        on.reenact.end: None,
        on.reenact.use: "move",
        on.reenact.relative: True,
        on.past: [],
        on.results.use_age: "",
    }
    return does, on, given


def arrive(visit, portrait, who="somebody"):
    """A visitor ticks the box and gives a photo."""
    does, on, given = visit
    given |= {on.photo: portrait, on.consent: True}
    request = SimpleNamespace(session_hash=who)
    changes = does.look(given, request)
    given |= {part: value for part, value in changes.items() if part in given}
    changes |= does.settle(given)
    given |= {part: value for part, value in changes.items() if part in given}
    return changes, request


def words(changes, on):
    return changes[on.status]


def test_the_sliders_show_the_face_and_only_what_is_moved_is_asked(visit, portrait):
    does, on, given = visit
    changes, _ = arrive(visit, portrait)
    assert "One face was found" in words(changes, on) and len(changes[on.results.pictures]["boxes"]) == 1
    smile = on.expression.units[AU_CODES.index("AU12")]
    assert given[smile] > 3 and given[on.age.years] == pytest.approx(31, abs=8)
    asked = does._asked(given)
    assert asked.age is None and asked.action_units == {} and asked.driving is None
    given[smile] = 1.0
    given[on.age.change] = True
    asked = does._asked(given)
    assert asked.action_units == {"AU12": 1.0} and asked.age == given[on.age.years]


def test_a_telephones_large_photo_is_scaled_with_a_note_and_a_cut_face_is_said(
    visit, portrait, tmp_path, monkeypatch
):
    does, on, given = visit
    monkeypatch.setattr(loader, "get_upload_folder", lambda: str(tmp_path))
    large = Image.fromarray(portrait).resize((7000, 7000))
    large.save(tmp_path / "large.jpg")
    given[on.photo] = photo = loader.photo_of({"path": str(tmp_path / "large.jpg")})
    assert photo.shape == (3500, 3500, 3) and photo.name == "large"
    assert "has 49 megapixels and was scaled" in photo.note
    large.resize((8100, 8100)).save(tmp_path / "larger.jpg")
    with pytest.raises(BadInput, match="the limit is 40 megapixels"):
        loader.photo_of({"path": str(tmp_path / "larger.jpg")})
    small = portrait.view(loader.Upload)
    small.note = photo.note
    changes, _ = arrive(visit, small)
    assert words(changes, on).endswith(f"{photo.note}</p>") and "border" not in words(changes, on)
    outside = np.array([[5.0, 9.0], [-1.0, 9.0]])
    assert cut_off(outside, (20, 10, 3)) and not cut_off(outside + 1, (20, 10, 3))
    assert cut_off(outside + 5, (20, 10, 3)) is False and cut_off(outside + 6, (20, 10, 3))
    assert "border cuts it" in found(Seen((30.0,), view={"cut": [True], "note": ""}))


def test_what_one_face_showed_is_not_asked_of_the_next_photo(visit, portrait):
    does, on, given = visit
    arrive(visit, portrait)
    shown = [given[slider] for slider in on.expression.units]
    arrive(visit, None)  # taken away: the sliders still show it
    assert [given[slider] for slider in on.expression.units] == shown and does._units(given) == {}
    given[on.expression.units[AU_CODES.index("AU04")]] = 4.0
    changes, _ = arrive(visit, portrait[:, ::-1].copy())
    assert "One face was found" in words(changes, on) and does._units(given) == {"AU04": 4.0}


def test_what_is_set_stays_when_another_face_is_picked(visit, two_faces, portrait):
    does, on, given = visit
    changes, _ = arrive(visit, two_faces)
    boxes = changes[on.results.pictures]["boxes"]
    assert len(boxes) == 2 and boxes[0][0] < 0.6 < boxes[1][0] and "face 1 is edited" in words(changes, on)
    brow = on.expression.units[AU_CODES.index("AU04")]
    given[brow] = 4.0
    changes = does.pick(given, SimpleNamespace(index=1))
    given |= {part: value for part, value in changes.items() if part in given}
    assert does._asked(given).face == 1 and does._asked(given).action_units == {"AU04": 4.0}
    with pytest.raises(BadInput):
        does.pick(given, SimpleNamespace(index=7))


def test_an_edit_combines_all_three_editors(visit, portrait):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    given |= {on.age.change: True, on.age.years: 70, on.reenact.photo: portrait}
    given[on.expression.units[AU_CODES.index("AU04")]] = 3.0
    changes = does.edit(given, request)
    table = changes[on.results.report]
    assert ">70<" in table and "AU04" in table and "Head yaw" in table and "likeness" in table
    view = changes[on.results.pictures]
    before, after = (pixels(view[name]) for name in ("before", "after"))
    assert before.shape == after.shape == portrait.shape and np.abs(before - after).max() > 8
    assert "Done in" in words(changes, on)
    saved = Path(changes[on.results.download]["value"])
    assert saved.name == "photo_age70_reenacted_AU04.jpg" and saved.is_file()
    files.leave(request)
    assert not saved.exists()


def test_a_link_sets_what_an_edit_was_asked(visit, portrait):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    given |= {on.age.change: True, on.age.years: 70, on.strength: 0.5}
    given[on.expression.units[AU_CODES.index("AU04")]] = 3.0
    table = does.edit(given, request)[on.results.report]
    address = html.unescape(re.search("href='([^']+)'", table)[1])
    assert address == "?age=70&AU04=3&strength=0.5"
    come = answering(does.linked, on.status)
    changes = come(SimpleNamespace(query_params=dict(urllib.parse.parse_qsl(address[1:]))))
    assert (changes[on.age.years], changes[on.age.change], changes[on.strength]) == (70, True, 0.5)
    assert changes[on.expression.units[AU_CODES.index("AU04")]] == 3.0
    for wrong, words_ in (("age=500", "Age 500 is out of range"), ("AU12=9", "AU12=9 is out of range")):
        changes = come(SimpleNamespace(query_params=dict(urllib.parse.parse_qsl(wrong))))
        assert set(changes) == {on.status} and words_ in words(changes, on)
    assert set(come(SimpleNamespace(query_params={"__theme": "dark"}))) == {on.status}


def test_the_same_edit_once_more_takes_its_own_place_among_the_last_results(visit, portrait):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    for years, count in ((70, 1), (70, 1), (60, 2)):
        given |= {on.age.change: True, on.age.years: years}
        given[on.past] = does.edit(given, request)[on.past]
        assert len(given[on.past]) == count
    assert [one.name for one in given[on.past]] == ["70 years", "60 years"]


def test_no_photo_no_consent_and_no_clip_are_said_in_place(visit, portrait):
    does, on, given = visit
    edit, film = (answering(handler, on.status) for handler in (does.edit, does.video))
    request = SimpleNamespace(session_hash="somebody")
    assert "Upload a photo first." in edit(given, request)[on.status]
    given[on.photo] = portrait
    assert "Tick the box" in edit(given, request)[on.status]
    given[on.consent] = True
    assert set(edit({**given, on.photo: BadInput("the photo is odd")}, request)) == {on.status}
    assert "Give a driving clip first" in film(given, request)[on.status]


def test_a_driving_clip_of_our_own_is_given_at_one_click(visit, portrait, editor):
    does, on, given = visit
    request, heard = SimpleNamespace(session_hash="somebody"), answering(does.our_clip, on.status)
    assert "Upload a photo first." in heard(given, SimpleNamespace(index=0), request)[on.status]
    given[on.photo] = portrait
    assert "Tick the box" in heard(given, SimpleNamespace(index=0), request)[on.status]
    given[on.consent] = True
    assert "Click one of the clips." in heard(given, SimpleNamespace(index=9), request)[on.status]
    for index in range(len(driving.CLIPS)):
        changes = does.our_clip(given, SimpleNamespace(index=index), request)
        clip = Path(changes[on.reenact.clip])
        assert loader.is_ours(clip) and changes[on.todo] == {"clip": True} and clip.stat().st_size < 15_000
        pictures = [picture for picture, _ in pictures_of(clip)]
        assert len(editor.detector(pictures[0])) == 1
        moved = [np.abs(picture.astype(int) - pictures[0]).mean() for picture in pictures]
        assert max(moved) > 1.4 * moved[-1] and max(moved) > 2  # there, and nearly back
    files.leave(request)


def test_the_first_picture_of_a_clip_is_shown_and_can_be_tried(visit, portrait, tmp_path):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    moves = on.reenact
    given[moves.clip] = make_clip(tmp_path / "drive.mp4", [portrait // 2, portrait], fps=1)
    changes = does.clip_given(given, request)
    assert "The clip lasts 2.0 s" in words(changes, on) and changes[moves.end] == 2
    first = pixels(changes[moves.first]["value"])
    assert np.abs(first - portrait // 2).mean() < 4 and not changes[moves.try_first]["visible"]
    given |= {moves.start: 1, moves.use: "edit", on.age.change: True, on.age.years: 75}
    changes = does.clip_part(given, request)
    assert np.abs(pixels(changes[moves.first]["value"]) - portrait).mean() < 4
    assert changes[moves.try_first]["visible"]
    tried = does.first_edited({**given, on.every: True, on.age.own: "3"}, request)
    told = tried[on.results.report]
    assert "75 years" in told and "(before: 3)" not in told  # a clip's face is edited as it reads
    before, after = (pixels(tried[on.results.pictures][name]) for name in ("before", "after"))
    assert np.abs(before - portrait).mean() < 4 and np.abs(after - before).max() > 30
    said = answering(does.clip_part, on.status)({**given, moves.end: 9}, request)
    assert "cannot end at 9" in words(said, on) and set(said) == {on.status}


def test_presets_ask_for_what_is_known_and_neutral_rests(visit, portrait):
    does, on, given = visit
    arrive(visit, portrait)
    for name in expression.PRESETS:
        sliders = does.preset(name, given)
        asked = does._asked({**given, **sliders}).action_units
        assert asked or name == "Smile", name  # the portrait smiles already
        assert not set(asked) & set(AU_UNSEEN)
    assert set(does._asked({**given, **does.preset("Neutral", given)}).action_units.values()) == {0.0}


def test_copying_an_expression_and_reset(visit, portrait, editor):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    other = np.asarray(editor.edit(portrait, action_units={"AU12": 0, "AU04": 3}).image)
    given |= {on.expression.copy_from: other, on.age.change: True}
    sliders = does.copy(given)
    shown = editor.read(other)[0].action_units["AU12"]
    smile = sliders[on.expression.units[AU_CODES.index("AU12")]]
    assert shown < 0.55 * editor.read(portrait)[0].action_units["AU12"]
    assert smile == pytest.approx(shown, abs=0.1)
    given |= sliders
    given |= {part: value for part, value in does.reset(given).items() if part in given}
    assert does._asked(given).action_units == {} and does._asked(given).age is None


def test_a_clip_can_be_stopped_and_leaves_nothing(visit, portrait):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    given |= {on.age.change: True, on.age.years: 70}
    said = {}
    film = threading.Thread(target=lambda: said.update(answering(does.animation, on.status)(given, request)))
    film.start()
    while request.session_hash not in jobs._running:
        time.sleep(0.01)
    does.stop(SimpleNamespace(session_hash="somebody else"))
    assert request.session_hash in jobs._running
    does.stop(request)
    film.join(60)
    assert "Stopped" in said[on.status] and set(said) == {on.status}
    assert not list(Path(files._visits[request.session_hash]).rglob("animation.*"))


def test_visits_are_apart_and_end(tmp_path):
    mine, yours = (files.new_folder(who) for who in ("me", "you"))
    for folder in (mine, yours):
        (folder / "face.txt").write_text("x")
    assert mine.parent != yours.parent
    files.leave(SimpleNamespace(session_hash="me"))
    assert not mine.exists() and (yours / "face.txt").exists()
    files.leave(SimpleNamespace(session_hash="me"))
    files.leave(SimpleNamespace(session_hash="you"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("note.png is not a readable image", "note.png is not a readable image."),
        ("no face was found.", "No face was found."),
    ],
)
def test_a_sentence_starts_with_a_capital_unless_it_is_a_files_name(text, said):
    assert jobs.sentence(text) == said


def test_a_bug_does_not_show_its_details(caplog):
    assert "secret" not in jobs.plainly(RuntimeError("secret path"))
    assert "secret path" in caplog.text


def test_each_step_of_an_edit_is_told(editor, portrait, monkeypatch):
    told = []
    monkeypatch.setattr(
        gr.Progress, "__call__", lambda self, share, desc=None, **kw: told.append((share, desc))
    )
    jobs.Jobs(editor).edit(jobs.Asked(portrait, age=70))
    assert [desc for _, desc in told] == ["Finding the face", "Reading the face", "Editing the face"]
    assert sorted(share for share, _ in told) == [share for share, _ in told] and told[-1][0] < 1


def test_weights_without_reenactment_make_a_page_that_works(portrait):
    editor = FaceEditor(GanimeAge.from_pretrained(parts=("finder", "readers", "ganimation_age")))
    with gr.Blocks() as blocks:
        parts, _ = page.lay_out(jobs.Jobs(editor))
    names = [block.elem_id for block in blocks.blocks.values() if getattr(block, "elem_id", None)]
    assert "reenact_note" in names and [value for _, value in parts.reenact.use.choices] == ["edit"]
    visit = begun(Handlers(jobs.Jobs(editor), parts))
    does, on, given = visit
    _, request = arrive(visit, portrait)
    given |= {on.age.change: True, on.age.years: 70}
    assert ">70<" in does.edit(given, request)[on.results.report]


def test_every_action_unit_and_group_has_its_control():
    shown = [code for _, codes in expression.GROUPS for code in codes]
    assert sorted(shown) == sorted(AU_CODES) == sorted(expression.WORDS)
    assert [age_group(middle) for middle in age.MIDDLES] == list(range(len(AGE_GROUPS)))


def test_the_report_shows_identity_between_the_ranges_that_the_weights_state(editor, portrait):
    result = editor.edit(portrait, age=45)
    stated = editor.model.identity_thresholds, editor.model.editable_action_units
    same, close = stated[0]
    for identity, words in (
        (same.cosine + 0.01, "more alike than 99 in 100 pairs of different people"),
        (same.cosine - 0.01, "where both kinds of pairs lie"),
        (close.cosine - 0.01, f"less alike than {round(100 * close.same)} in 100 pairs of one person"),
    ):
        said = report.report(
            SimpleNamespace(**{**vars(copy(result)), "identity": identity, "asked_units": dict}), *stated
        )
        assert f"likeness {identity:.2f}: {words}" in said and f"left:{round(100 * identity)}%" in said
        assert (
            said.index("<dt>Asked")
            < said.index("<dt>Reached")
            < said.index("likeness")
            < said.index("<details>")
        )
    assert "Nothing was asked" in report.report(editor.edit(portrait), *stated)


def test_weights_that_state_no_ranges_get_no_scale(editor, portrait):
    result = editor.edit(portrait, age=45)
    said = report.report(result, (), AU_CODES)
    assert "likeness" not in said and "Same person" not in said and "reads as" in said


def test_the_sliders_and_the_neutral_face_follow_the_weights():
    rest, values = dict.fromkeys(AU_CODES, 1.0), tuple([2.0] * len(AU_CODES))
    assert list(expression.asked(rest, values, LABELLED_AUS)) == list(LABELLED_AUS)
    assert list(expression.asked(rest, values, AU_CODES)) == list(AU_CODES)
    still = expression.at(rest, expression.PRESETS["Neutral"], LABELLED_AUS)
    assert [value for code, value in zip(AU_CODES, still, strict=True) if code in AU_UNSEEN] == [1.0, 1.0]
    assert not any(expression.at(rest, expression.PRESETS["Neutral"], AU_CODES))
    with gr.Blocks():
        for editable in (LABELLED_AUS, AU_CODES):
            shown = expression.show(editable).units
            assert [code for code, unit in zip(AU_CODES, shown, strict=True) if unit.interactive] == list(
                editable
            )


def test_the_pages_own_events_are_not_endpoints(editor):
    blocks = page.build(editor)
    public = {fn.api_name for fn in blocks.fns.values() if fn.api_visibility == "public" and fn.fn}
    assert public == {name[1:] for name in ENDPOINTS}


def test_the_page_imports_no_torch_and_asks_no_other_host():
    sources = {
        path: path.read_text()
        for path in (*(ROOT / "src/ganime_age/space").glob("*.*"), ROOT / "app.py")
        if path.is_file()
    }
    assert not any("import torch" in text or "from torch" in text for text in sources.values())
    assert not any("http://" in text or "https://" in text for text in sources.values())


def test_app_py_starts_from_any_folder(tmp_path):
    code = f"import runpy; runpy.run_path({str(ROOT / 'app.py')!r}); print('ready')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "ready", done.stderr


def test_an_example_runs_without_the_box_and_a_visitors_photo_does_not(visit, portrait):
    does, on, given = visit
    request = SimpleNamespace(session_hash="somebody")
    changes = does.example(given, SimpleNamespace(index=0), request)
    example = gr.data_classes.ImageData(path=changes[on.photo])
    given |= {part: value for part, value in changes.items() if part in given}
    given |= {on.photo: on.photo.preprocess(example), on.reenact.photo: None, on.consent: False}
    changes = does.look(given, request)
    given |= {part: value for part, value in changes.items() if part in given}
    changes = does.settle(given)
    given |= {part: value for part, value in changes.items() if part in given}
    made = does.edit_new(given, request)
    assert ">75<" in made[on.results.report] and made[on.results.pictures]["after"]
    given[on.photo] = portrait
    assert "Tick the box" in words(does.look(given, request), on)
    with pytest.raises(BadInput, match="click one of the examples"):
        does.example(given, SimpleNamespace(index=99), request)


def test_a_new_photo_takes_over_what_is_set_and_former_results_come_back(visit, portrait):
    does, on, given = visit
    given |= {on.age.change: True, on.age.years: 70}
    _, request = arrive(visit, portrait)
    made = does.edit_new(given, request)
    assert ">70<" in made[on.results.report]
    given |= {on.past: made[on.past], on.age.years: 20}
    given[on.past] = does.edit(given, request)[on.past]
    back = does.undo(given, request)
    assert back[on.age.years] == 70 and back[on.results.pictures] == made[on.results.pictures]
    assert len(back[on.past]) == 1
    assert does.restore(given, SimpleNamespace(index=1), request)[on.age.years] == 20
    kept = does.go_on(given, request)
    assert kept[on.photo] == given[on.past][-1].download and kept[on.age.change] is False
    does.restore(given, SimpleNamespace(index=0), request)
    assert does.go_on(given, request)[on.photo] == given[on.past][0].download
    with pytest.raises(BadInput, match="no result before"):
        does.undo({**given, on.past: back[on.past]}, request)


def test_what_was_asked_while_the_face_was_looked_for_is_made_once(visit, portrait, monkeypatch):
    does, on, given = visit
    early = {**given, on.photo: portrait, on.consent: True, on.reenact.photo: portrait[:, ::-1].copy()}
    _, request = arrive(visit, portrait, "somebody in a hurry")
    made = does.edit(early, request)
    given |= {on.past: made[on.past], on.reenact.photo: early[on.reenact.photo]}
    with monkeypatch.context() as patch:
        patch.setattr(does.work, "edit", None)
        shown = does.edit_new(given, request)
    assert shown[on.results.pictures]["after"] == made[on.results.pictures]["after"]
    assert shown[on.results.pictures]["boxes"] and len(shown[on.past]) == 1
    assert shown[on.results.attention]["visible"]  # finding the face has hidden it
    given[on.reenact.photo] = portrait
    other = does.edit_new(given, request)
    assert other[on.results.pictures]["after"] != made[on.results.pictures]["after"]


def test_a_draft_is_the_face_alone_and_nearly_the_edit(visit, portrait, monkeypatch):
    does, on, given = visit
    pipeline, looked = does.work.editor.pipeline, []
    find = pipeline.find_hair
    monkeypatch.setattr(pipeline, "find_hair", lambda *face: looked.append(face) or find(*face))
    monkeypatch.setattr(pipeline, "recognise", None)  # no draft asks who it is
    _, request = arrive(visit, portrait)
    looks, look = [], Distilled.forward
    monkeypatch.setattr(Distilled, "forward", lambda *seen: looks.append(seen) or look(*seen))
    for years in (10, 45, 85, 75):
        given[on.age.years] = years
        does.draft_of_age(given, request)
    assert len(looked) == 1  # hair is found once for all drafts of a photo
    assert len(looks) == 3  # the network draws for the first of the drafts that are near each other
    draft = does.draft_of_age(given, request)[on.stage.sketch]
    sketch.memory("somebody").sketches[0].hair = None
    assert (
        does.draft_of_age(given, request)[on.stage.sketch] == draft
    )  # what drafts share changes none of them
    monkeypatch.undo()
    drawn = pixels(io.BytesIO(base64.b64decode(draft["src"].partition(",")[2])))
    view = does.edit({**given, on.age.change: True}, request)[on.results.pictures]
    assert draft["key"] == view["key"] and max(drawn.shape) < 330
    left, top, width, height = (round(v * 320) for v in draft["box"])
    edited = pixels(view["after"])[top : top + height, left : left + width]
    small = np.asarray(Image.fromarray(edited.astype(np.uint8)).resize(drawn.shape[1::-1]), int)
    assert np.abs(small - drawn).mean() < 5
    photo = Image.fromarray(portrait[top : top + height, left : left + width]).resize(drawn.shape[1::-1])
    assert np.abs(small - drawn).mean() < np.abs(small - np.asarray(photo, int)).mean() / 2
    files.leave(request)
    assert does.draft(given, request)[on.stage.sketch] == {}


def test_another_format_is_the_same_edit_written_again(visit, portrait, monkeypatch):
    does, on, given = visit
    given |= {on.age.change: True, on.age.years: 70}
    _, request = arrive(visit, portrait)
    does.edit(given, request)
    monkeypatch.setattr(does.work, "edit", None)
    given[on.stage.picture_format] = "png"
    saved = Path(does.reformat(given, request)[on.results.download]["value"])
    assert saved.name == "photo_age70.png" and verify(saved).record["age"] == 70


def test_what_follows_a_driving_face_hides_where_a_clips_own_face_is_edited(visit):
    does, on, given = visit

    def seen(changes):
        return [changes[part]["visible"] for part in (on.reenact.motion, on.reenact.multiplier)]

    assert seen(does.clip_use(given)) == [True, True]
    editing = does.clip_use({**given, on.reenact.use: "edit"})
    assert seen(editing) == [False, False] and not editing[on.reenact.relative]["visible"]
    assert seen(does.photo_use(given)) == [True, True]


def test_another_format_is_of_the_result_that_is_shown(visit, portrait):
    does, on, given = visit
    _, request = arrive(visit, portrait)
    for years in (70, 20):
        given |= {on.age.change: True, on.age.years: years}
        given[on.past] = does.edit(given, request)[on.past]

    def download(changes):
        return Path(changes[on.results.download]["value"])

    given[on.stage.picture_format] = "png"
    assert download(does.reformat(given, request)).name == "photo_age20.png"
    back = does.undo(given, request)
    assert download(back).name == "photo_age70.png"
    given |= {on.past: back[on.past], on.stage.picture_format: "webp"}
    saved = download(does.reformat(given, request))
    assert saved.name == "photo_age70.webp" and verify(saved).record["age"] == 70
    assert np.abs(pixels(saved) - pixels(given[on.past][-1].download)).mean() < 2
    given[on.past][-1].download.unlink()
    with pytest.raises(BadInput, match="make the edit again"):
        does.reformat(given, request)


def test_every_face_is_edited_where_that_is_ticked_and_a_wrong_reading_is_corrected(visit, two_faces):
    does, on, given = visit
    given |= {on.age.change: True, on.age.years: 80, on.every: True, on.age.own: "50"}
    _, request = arrive(visit, two_faces)
    changes = does.edit(given, request)
    assert "(before: 50)" in changes[on.results.report]
    view = changes[on.results.pictures]
    changed = np.abs(pixels(view["after"]) - pixels(view["before"])).max(2) > 12
    assert changed[:, 330:].any() and changed[:, :320].any()


def test_a_plain_path_is_answered_with_what_to_pass(address, portrait_file):
    assert "pass handle_file(path)" in post(address, "/read", [str(portrait_file), True])
