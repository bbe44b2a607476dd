"""The controlnet backend, end to end on tiny random networks that are made and saved here, and its control pictures."""

import json
import runpy
import shutil
import string
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ganime_age.edits import AGE_GROUPS
from ganime_age.errors import BadInput, MissingModel
from ganime_age.images.alignment import apply, crop, frame_matrix
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.recipe import fill, read_recipe
from ganime_age.learning.multipose import controlnet_dry_run, controlnet_models, pose_drawing
from ganime_age.learning.multipose.controlnet_backend import drawing_style, open_controlnet, person
from ganime_age.learning.multipose.controlnet_scenes import Recipe, head_area
from ganime_age.learning.multipose.plan import Request, Slot, SourceRules, source_labels
from ganime_age.networks.head import Head
from ganime_age.networks.mesh import turned
from helpers.training import side_by_side

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "training" / "recipes" / "multipose_controlnet.toml"
SMALL = {"steps": 2}
WIDTH = 16


def tokenizer():
    """CLIP's, whose words are single characters."""
    from transformers import CLIPTokenizer

    letters = string.ascii_lowercase + string.digits + ",."
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77)


def text_encoder(kind, width=WIDTH, layers=2):
    from transformers import CLIPTextConfig

    sizes = {"hidden_size": width, "intermediate_size": WIDTH, "projection_dim": width, "vocab_size": 128}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    return kind(CLIPTextConfig(num_hidden_layers=layers, num_attention_heads=2, **sizes, **ends)).eval()


def networks(xl):
    """U-Net and autoencoder of a family, random. XL has the real one's conditions and proportions: 2,048 text features
    of two encoders, 2,816 for the pooled text and six numbers of 256 features each, latents of 128 an eighth of 1,024
    pixels; its layers are narrow."""
    import diffusers

    if xl:
        kind = {"cross_attention_dim": 768 + 1280, "addition_embed_type": "text_time", "sample_size": 128}
        kind |= {"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 1280 + 6 * 256}
        kind |= {"use_linear_projection": True, "block_out_channels": (8, 16, 16)}
        down, levels = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), (8, 8, 8, 16)
    else:
        kind = {"cross_attention_dim": WIDTH, "sample_size": 16, "block_out_channels": (8, 16)}
        down, levels = ("CrossAttnDownBlock2D", "DownBlock2D"), (8, 16)
    unet = diffusers.UNet2DConditionModel(
        layers_per_block=1, norm_num_groups=4, attention_head_dim=4, down_block_types=down,
        up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)), **kind,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=levels, norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
    )  # fmt: skip
    return unet, vae


def save_models(folder, xl):
    """A base and two ControlNets of a family as folders; -> the base's components."""
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(int(xl))
    unet, vae = networks(xl)
    controlnet = diffusers.ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=vae.config.block_out_channels
    )
    for weight in controlnet.parameters():
        if weight.dim() == 4 and not weight.any():  # a fresh ControlNet says nothing
            torch.nn.init.normal_(weight, std=0.3)
    parts = {
        "unet": unet,
        "vae": vae,
        "scheduler": diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        "tokenizer": tokenizer(),
    }
    if xl:
        parts |= {"text_encoder": text_encoder(CLIPTextModel, 768, 1), "tokenizer_2": tokenizer()}
        parts["text_encoder_2"] = text_encoder(CLIPTextModelWithProjection, 1280, 1)
        diffusers.StableDiffusionXLPipeline(**parts).save_pretrained(folder / "base")
    else:
        parts["text_encoder"] = text_encoder(CLIPTextModel)
        unchecked = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        diffusers.StableDiffusionPipeline(**parts, **unchecked).save_pretrained(folder / "base")
    controlnet.save_pretrained(folder / "openpose")
    controlnet.save_pretrained(folder / "MediaPipeFace")
    return parts


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders `sd` and `xl`, each with base, openpose and MediaPipeFace; `checked`: sd with a safety checker."""
    pytest.importorskip("diffusers", reason="needs the extra multipose")
    folder = tmp_path_factory.mktemp("diffusion")
    save_checked(folder / "checked", save_models(folder / "sd", xl=False))
    save_models(folder / "xl", xl=True)
    return folder


def save_checked(folder, parts):
    """A base whose safety checker objects to everything."""
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    size = {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(vision_config={**size, "image_size": 32, "patch_size": 8}, projection_dim=WIDTH)
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-2.0)
    eyes = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    StableDiffusionPipeline(**parts, safety_checker=checker, feature_extractor=eyes).save_pretrained(folder)


@pytest.fixture(scope="module")
def head(model):
    """The mean head, which is symmetric."""
    return Head(
        torch.zeros(1, len(model.head.identity)),
        torch.zeros(1, len(model.head.expression)),
        torch.zeros(1, 3),
        torch.tensor([0.5]),
        torch.tensor([[0.5, 0.55]]),
    )


@pytest.fixture(scope="module")
def asked(model, head):
    """Three faces of 48 px in soft colours with the mean head's landmarks, their labels, and what is wanted of them."""
    generator = torch.Generator().manual_seed(0)
    faces = (
        torch.nn.functional.interpolate(torch.rand(3, 3, 6, 6, generator=generator), 48, mode="bilinear") * 2
        - 1
    )
    labels = [
        {"age": 5.0, "age_group": "3-6", "gender": "f", "pose": [0.0, 0.0, 0.0]},
        {"age": 35.0, "age_group": "30-39", "gender": "m", "pose": [0.0, 0.0, 0.0]},
        {"age": 80.0, "age_group": "70+", "gender": None, "pose": [0.0, 0.0, 0.0]},
    ]
    requests = [Request(0, -30.0, 0.0, 11), Request(1, 15.0, 15.0, 12), Request(2, 30.0, 0.0, 13)]
    return faces, model.head.landmarks(head).expand(3, -1, -1), labels, requests


def opened(models, model, family="sd", base=None, controlnet="openpose", **numbers):
    base = base or models / family / "base"
    return open_controlnet(
        str(base), str(models / family / controlnet), Recipe(**SMALL | numbers), model.head
    )


def one(asked, i, **changes):
    """The i-th of what is asked, alone."""
    faces, landmarks, labels, requests = asked
    label = labels[i] | {k: v for k, v in changes.items() if k in labels[i]}
    request = requests[i]._replace(**{k: v for k, v in changes.items() if k in Request._fields})
    return faces[i : i + 1], landmarks[i : i + 1], [label], [request]


def refusal(kind, call, *args, **keywords):
    with pytest.raises(kind) as caught:
        call(*args, **keywords)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 450
    return said


# what is made


@pytest.mark.parametrize("family", ["sd", "xl"])
def test_images_are_made_again_alone_or_in_a_batch(models, model, asked, family):
    side = 64 if family == "xl" else 0
    backend = opened(models, model, family, side=side)
    together = backend.make(*asked)
    assert together.shape == asked[0].shape and together.dtype == torch.float32
    assert together.min() >= -1 and together.max() <= 1
    alone = opened(models, model, family, side=side).make(*one(asked, 2))
    assert torch.allclose(alone[0], together[2], atol=1e-4)


def test_xl_gets_text_of_two_encoders_and_the_sizes_of_the_picture(models, model, asked):
    """The real interface of Stable Diffusion XL: what U-Net and ControlNet are called with."""
    backend, calls = opened(models, model, "xl"), []
    assert backend.side == 1024
    backend.side = 64  # random networks need not paint so many pixels
    assert backend.versions["family"].startswith(
        "Stable Diffusion XL (2048 text features, sizes as conditions"
    )
    for network in (backend.pipeline.unet, backend.pipeline.controlnet):
        network.register_forward_pre_hook(
            lambda network, given, named: calls.append((type(network).__name__, given, named)),
            with_kwargs=True,
        )
    backend.make(*asked)
    assert [name for name, _, _ in calls] == ["ControlNetModel", "UNet2DConditionModel"]
    for name, given, named in calls:
        assert given[0].shape == (6, 4, 8, 8)  # three images, with and without the prompt
        text, added = named["encoder_hidden_states"], named["added_cond_kwargs"]
        assert text.shape == (6, 77, 2048) and added["text_embeds"].shape == (6, 1280)
        assert added["time_ids"].tolist() == [[64, 64, 0, 0, 64, 64]] * 6, name
        assert not torch.equal(text[3], text[4]) and not torch.equal(*added["text_embeds"][3:5])
    assert calls[0][2]["controlnet_cond"].shape == (6, 3, 64, 64)


def test_seed_pose_and_label_each_change_the_image(models, model, asked):
    backend = opened(models, model, init="photo", control_scale=3.0, guidance=30.0)
    image = backend.make(*one(asked, 0))
    for change in ({"seed": 99}, {"yaw": 30.0}, {"gender": "m"}, {"age_group": "70+"}):
        assert (backend.make(*one(asked, 0, **change)) - image).abs().max() > 1e-3, change


def test_painting_starts_from_the_turned_mesh_or_from_the_photo(models, model, asked):
    requests = [request._replace(yaw=0.0, pitch=0.0) for request in asked[3]]
    mesh, photo = (opened(models, model, init=init) for init in ("mesh", "photo"))
    turned_first = mesh.scene(*asked).first
    assert (photo.scene(*asked).first - turned_first).abs().mean() > 0.02
    assert torch.equal(photo.scene(*asked).first, photo.scene(*asked[:3], requests).first)
    assert turned_first.min() >= 0 and turned_first.max() <= 1 and turned_first.shape[-1] == mesh.side == 32


@pytest.mark.parametrize("repaint", ["unseen", "background"])
def test_what_the_mask_leaves_out_is_kept(models, model, asked, repaint):
    backend = opened(models, model, repaint=repaint, strength=1.0)
    scene = backend.scene(*one(asked, 2))
    assert 0.02 < scene.mask.mean() < 0.9 and "Inpaint" in backend.versions["pipeline"]
    painted = backend.paint(scene, asked[2][2:], [1])
    change = (painted - scene.first).abs()
    assert change[(scene.mask == 0).expand_as(change)].max() == 0
    assert change[(scene.mask == 1).expand_as(change)].mean() > 0.02


def test_versions_name_all_that_made_an_image(models, model):
    said = opened(models, model, strength=0.75).versions
    assert said["base"].startswith(str(models / "sd" / "base")) and "sha256" in said["controlnet"]
    assert json.loads(said["recipe"])["strength"] == 0.75
    assert said["dtype"] == "float32" and said["drawing"] == "openpose"
    assert {"diffusers", "transformers", "torch", "head"} <= said.keys()
    assert all(isinstance(value, str) for value in said.values())


def test_a_folder_with_other_weights_has_another_version(models, model, tmp_path):
    shutil.copytree(models / "sd", tmp_path / "sd")
    before = opened(tmp_path, model).versions["controlnet"]
    assert before == opened(tmp_path, model).versions["controlnet"]
    network = controlnet_models.need_diffusers().ControlNetModel.from_pretrained(tmp_path / "sd" / "openpose")
    network.conv_in.bias.data.add_(1)
    network.save_pretrained(tmp_path / "sd" / "openpose")
    assert opened(tmp_path, model).versions["controlnet"] != before


def test_safety_checker_is_on_unless_a_sentence_says_why_not(models, model, asked):
    on = opened(models, model, base=models / "checked")
    assert on.versions["safety_checker"] == "on"
    assert (on.make(*one(asked, 0)) == -1).all()
    off = opened(models, model, base=models / "checked", unchecked_because="these are random numbers")
    assert off.versions["safety_checker"] == "off: these are random numbers"
    assert off.make(*one(asked, 0)).std() > 0.01


# what is refused


def test_families_that_differ_are_refused_before_weights_are_read(models, model, tmp_path):
    for family in ("sd", "xl"):
        shutil.copytree(models / family, tmp_path / family)
        for weights in (tmp_path / family).rglob("*.safetensors"):
            weights.unlink()
    for base, controlnet in (("sd", "xl"), ("xl", "sd")):
        said = refusal(
            BadInput, open_controlnet, str(tmp_path / base / "base"),
            str(tmp_path / controlnet / "openpose"), Recipe(), model.head,
        )  # fmt: skip
        assert "one family" in said and f"{WIDTH} text features" in said and "XL (2048 text features" in said


def test_nothing_is_loaded_unless_both_models_are_named(model, monkeypatch):
    monkeypatch.setattr(controlnet_models, "hf_hub_download", None)
    for base, controlnet in ((None, None), ("org/base", None), (None, "org/openpose")):
        said = refusal(BadInput, open_controlnet, base, controlnet, Recipe(), model.head)
        assert "--base and --controlnet" in said


def test_wrong_models_get_one_sentence(models, model, tmp_path):
    good = str(models / "sd" / "base")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text('{"_class')
    for name, kind, words in (
        ("org/openpose", MissingModel, "HF_HUB_OFFLINE"),
        ("no/such/../thing", MissingModel, "neither a folder"),
        ("just-a-name", MissingModel, "neither a folder"),
        (str(tmp_path / "empty"), MissingModel, "holds no config.json"),
        (str(tmp_path / "torn"), MissingModel, "damaged"),
        (str(tmp_path / "odd"), BadInput, "FluxTransformer2DModel"),
    ):
        said = refusal(kind, open_controlnet, good, name, Recipe(drawing="openpose"), model.head)
        assert name in said and words in said
    assert "DDIMScheduler" in refusal(BadInput, opened, models, model, scheduler="Adam")


def test_names_on_the_hub_are_checked_over_http(models, model, online):
    """Over HTTP: a name that is not there, a subfolder that is, and no weights before the families agree."""
    control = (models / "xl" / "openpose" / "config.json").read_bytes()
    online.add("org/control", {"half/config.json": control, "half/diffusion_pytorch_model.safetensors": b"x"})
    base, named = str(models / "sd" / "base"), Recipe(drawing="openpose")
    said = refusal(MissingModel, open_controlnet, base, "org/nowhere", named, model.head)
    assert "org/nowhere" in said
    said = refusal(MissingModel, open_controlnet, base, "org/control", named, model.head)
    assert "holds no config.json" in said and "subfolder" in said
    said = refusal(BadInput, open_controlnet, base, "org/control/half", named, model.head)
    assert "one family" in said
    assert not any(path.endswith("safetensors") for _, path in online.seen)


def test_damaged_weights_get_one_sentence(models, model, tmp_path):
    shutil.copytree(models / "sd", tmp_path / "sd")
    weights = tmp_path / "sd" / "openpose" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    said = refusal(MissingModel, opened, tmp_path, model)
    assert "openpose cannot be loaded" in said


@pytest.mark.parametrize("part", ["base", "openpose"])
def test_weights_that_are_pickles_are_refused_with_how_to_convert_them(models, model, tmp_path, part):
    shutil.copytree(models / "sd", tmp_path / "sd")
    for weights in (tmp_path / "sd" / part).rglob("*.safetensors"):
        weights.rename(weights.with_suffix(".bin"))
    said = refusal(MissingModel, opened, tmp_path, model)
    assert "holds its weights as .bin, which are pickles" in said and f"sd/{part}'" in said
    loader = {"base": "DiffusionPipeline", "openpose": "ControlNetModel"}[part]
    assert (
        f"from diffusers import {loader} as M; M.from_pretrained(" in said and "use_safetensors=False" in said
    )


def test_without_diffusers_it_says_what_to_install(models, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "ganime_age[multipose]" in refusal(MissingModel, opened, models, model)


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"strength": 0.0}, "strength"),
        ({"steps": 1, "strength": 0.5}, "no step"),
        ({"init": "noise"}, "init"),
        ({"init": "photo", "repaint": "unseen"}, "unseen"),
        ({"side": 100}, "multiple of 64"),
        ({"prompt": "a {face}"}, "prompt"),
        ({"gpu_dtype": "int8"}, "gpu_dtype"),
        ({"colour": 1}, "colour"),
    ],
)
def test_recipe_refuses_what_cannot_be(numbers, word):
    assert word in refusal(BadInput, fill, Recipe, numbers, "[controlnet] table")


def test_the_shipped_recipe_fits():
    assert fill(Recipe, read_recipe(RECIPE, [])["controlnet"], "[controlnet] table").init == "mesh"


# the prompt and the style


def test_the_prompt_says_age_group_and_gender():
    assert person({"age_group": "3-6", "gender": "f"}) == "a girl, 3 to 6 years old"
    assert person({"age_group": "70+", "gender": "m"}) == "a man, over 70 years old"
    assert person({"age": 1.0, "gender": None}) == "a baby, 0 to 2 years old"
    assert person({"age_group": None, "age": None, "gender": "f"}) == "a woman"
    assert len({person({"age_group": g, "gender": s}) for g in AGE_GROUPS for s in ("f", "m", None)}) == 30


def test_the_drawing_goes_by_the_name_of_the_controlnet():
    assert drawing_style("auto", "CrucibleAI/ControlNetMediaPipeFace/diffusion_sd15") == "mediapipe_face"
    assert drawing_style("auto", "lllyasviel/control_v11p_sd15_openpose") == "openpose"
    assert drawing_style("mediapipe_face", "org/openpose") == "mediapipe_face"
    assert "drawing" in refusal(BadInput, drawing_style, "auto", "org/depth")


# the control pictures


def points_at(model, head, yaw, pitch=0.0):
    """The mean head turned: landmarks (68,3) and which of them are seen."""
    vertices = model.head.points(turned(head, yaw, pitch))[0].double().numpy()
    landmarks = vertices[model.head.landmark_index.numpy()]
    return landmarks, pose_drawing.visible(landmarks, vertices, model.head.triangles.numpy())


def colour_at(picture, point):
    x, y = (point[:2] * len(picture)).astype(int)
    return tuple(int(value) for value in picture[y, x])


def test_mediapipe_lines_run_through_the_landmarks(model, head):
    landmarks, _ = points_at(model, head, 10.0)
    picture = pose_drawing.mediapipe_face(landmarks, 512)
    parts = {
        "jaw": slice(2, 15),
        "right brow": slice(18, 21),
        "left brow": slice(23, 26),
        "right eye": slice(36, 42),
    }
    parts |= {"left eye": slice(42, 48), "outer lips": slice(49, 54)}
    found = {name: {colour_at(picture, point) for point in landmarks[part]} for name, part in parts.items()}
    assert found == {
        "jaw": {(10, 200, 10)},
        "right brow": {(180, 220, 10)},
        "left brow": {(10, 220, 180)},
        "right eye": {(180, 200, 10)},
        "left eye": {(10, 200, 180)},
        "outer lips": {(10, 180, 10)},
    }
    assert colour_at(picture, landmarks[36:42].mean(0)) == (250, 200, 10)
    assert colour_at(picture, landmarks[30]) == (0, 0, 0)


def test_the_forehead_closes_the_oval_above_the_brows(model, head):
    for yaw in (-40.0, 0.0, 40.0):
        landmarks, _ = points_at(model, head, yaw)
        arc = pose_drawing.forehead(landmarks)
        assert arc.shape == (13, 3) and arc[3:10, 1].max() < landmarks[17:27, 1].min()
        assert np.abs(arc[0] - landmarks[0]).max() < 0.12 and np.abs(arc[-1] - landmarks[16]).max() < 0.12


def test_openpose_draws_what_is_seen_and_leaves_out_what_is_hidden(model, head):
    straight, all_seen = points_at(model, head, 0.0)
    assert all_seen.all()
    picture = pose_drawing.openpose(straight, all_seen, 512)
    assert {colour_at(picture, point) for point in straight} == {(255, 255, 255)}
    side, seen = points_at(
        model, head, 40.0
    )  # the nose to the right of the picture: the left cheek is hidden
    assert seen[[0, 1, 2, 3, 4, 8, 30, 36, 48]].all() and not seen[[13, 14, 15, 16]].any()
    picture = pose_drawing.openpose(side, seen, 512)
    assert {colour_at(picture, point) for point in side[seen]} == {(255, 255, 255)}
    elsewhere = side.copy()
    elsewhere[13:17] = 0.02
    assert (pose_drawing.openpose(elsewhere, seen, 512) == picture).all()
    assert (pose_drawing.openpose(elsewhere, all_seen, 512) != picture).any()
    assert not (picture == (153, 0, 102)).all(2).any()  # no limb to the hidden left ear, at 60 %
    assert (picture == (102, 0, 153)).all(2).any()  # one to the right ear


@pytest.mark.parametrize("style", pose_drawing.STYLES)
def test_mirrored_yaw_mirrors_the_picture(model, head, style):
    pictures = []
    for yaw in (30.0, -30.0):
        landmarks, seen = points_at(model, head, yaw, 5.0)
        pictures.append(pose_drawing.draw_pose(style, landmarks, seen, 512))
    one, other = pictures[0].astype(int), pictures[1][:, ::-1].astype(int)
    if style == "mediapipe_face":
        other = other[..., ::-1]  # the sides' colours differ in red and blue
        lit = [(p > 0).any(2) for p in (one, other)]
        blurred = [cv2_blur(p) for p in (one, other)]
    else:
        lit = [(p == 255).all(2) for p in (one, other)]
        blurred = [cv2_blur(mask[..., None] * 255) for mask in lit]
    assert 0.9 < lit[0].sum() / lit[1].sum() < 1.1
    assert np.abs(blurred[0] - blurred[1]).max() < 90  # lines may lie a pixel apart


def cv2_blur(picture):
    import cv2

    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 2.0)


def test_strokes_grow_with_the_picture(model, head):
    landmarks, seen = points_at(model, head, 0.0)
    for style in pose_drawing.STYLES:
        shares = [
            (pose_drawing.draw_pose(style, landmarks, seen, side) > 0).any(2).mean() for side in (512, 1024)
        ]
        assert 0.8 < shares[0] / shares[1] < 1.25


def test_the_head_area_covers_the_face_and_not_the_corners(model, head):
    points = model.head.points(turned(head, 20.0))[0]
    area = head_area(points, model.head, 64)[..., 0]
    x, y = (points[model.head.landmark_index, :2].mean(0) * 64).long().tolist()
    assert area[y, x] == 255 and not area[[0, 0], [0, 63]].any() and 0.1 < (area > 0).mean() < 0.8


# the whole run, by the script


@pytest.fixture(scope="module")
def people(tmp_path_factory, editor, portrait):
    """A face folder of four people: one portrait in other colours, as aligned faces of 128 px with their labels."""
    found = editor.detector(portrait)[0]
    matrix = frame_matrix(found.landmarks, 128)
    face, landmarks = crop(portrait, matrix, 128), apply(matrix, found.landmarks) / 128
    folder, rows = tmp_path_factory.mktemp("people") / "faces", []
    folder.mkdir()
    yaw, pitch, roll = (
        editor.model.read(torch.from_numpy(face).permute(2, 0, 1)[None] / 127.5 - 1).pose[0].tolist()
    )
    for i in range(4):
        Image.fromarray((face * (1 - 0.1 * i)).astype(np.uint8)).save(folder / f"{i}.png")
        row = {
            "id": f"face-{i}",
            "file": f"{i}.png",
            "split": "train" if i < 3 else "test",
            "source": "portraits",
        }
        row |= {"age": 30.0, "age_group": "30-39", "gender": "f", "identity": f"p{i}", "action_units": None}
        rows.append(row | {"landmarks": landmarks.ravel().tolist(), "yaw": yaw, "pitch": pitch, "roll": roll})
    pd.DataFrame(rows).to_parquet(folder / "manifest.parquet")
    return folder


def command(people, models, out, *more):
    """Six images in three parts. Random networks paint no faces: they may only paint what the mesh invented, and the
    gates are open for all but a face that is not found."""
    words = [
        "--faces",
        people,
        "--out",
        out,
        *"--backend controlnet --yaw -20 20 --pitch 0 --count 6".split(),
    ]
    words += ["--base", models / "sd" / "base", "--controlnet", models / "sd" / "openpose"]
    for change in ("part=2", "batch=2", "gates.pose=90", "gates.identity=-1.0", "gates.age=100.0", "gates.face=0.1",
                   "controlnet.repaint=unseen", "controlnet.steps=2", "sources.valid=0.5"):  # fmt: skip
        words += ["--set", change]
    return [str(ROOT / "training" / "augment_multipose.py"), *map(str, [*words, *more])]


def shards(out):
    """Every picture of a set's shards by its name."""
    pictures = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            pictures |= {f"{path.name}/{m.name}": archive.extractfile(m).read() for m in archive.getmembers()}
    return pictures


@pytest.mark.slow
def test_two_processes_make_a_set_that_goes_on_after_a_kill(people, models, tmp_path, monkeypatch):
    out = tmp_path / "set"
    two = side_by_side([sys.executable, *command(people, models, out)])
    errors = [process.communicate(timeout=500)[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], errors
    made, manifest = shards(out), pd.read_parquet(out / "manifest.parquet")
    assert len(made) == len(manifest) == 6 and set(manifest["file"]) == set(made)
    assert set(manifest["backend"]) == {"controlnet"} and set(manifest["split"]) == {"train", "test"}
    said = json.loads(manifest["versions"].iloc[0])
    assert said["base"].startswith(str(models)) and json.loads(said["recipe"])["repaint"] == "unseen"

    (out / "report.json").unlink()  # a kill during the second part leaves neither its note nor a whole shard
    (out / ".parts" / "00001.json").unlink()
    (out / "multipose-00001.tar").write_bytes(b"torn")
    kept = (out / "multipose-00000.tar").stat().st_mtime_ns
    monkeypatch.setattr(sys, "argv", command(people, models, out))
    runpy.run_path(sys.argv[0], run_name="__main__")
    assert (out / "multipose-00000.tar").stat().st_mtime_ns == kept
    assert shards(out) == made
    pd.testing.assert_frame_equal(pd.read_parquet(out / "manifest.parquet"), manifest)


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--controlnet", "org/openpose"), 3, "org/openpose"),
        (("--controlnet", ""), 2, "--base and --controlnet"),
        (("--count", 1, "--set", "gates.identity=2.0"), 2, "identity"),
    ],
)
def test_script_says_in_one_line_what_is_wrong(
    people, models, tmp_path, monkeypatch, capfd, more, code, words
):
    monkeypatch.setattr(sys, "argv", command(people, models, tmp_path / "set", *more))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(sys.argv[0], run_name="__main__")
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == code and last.startswith("error: ") and words in last


# a dry run


NAMES = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "CrucibleAI/ControlNetMediaPipeFace/diffusion_sd15")


def test_a_dry_run_says_what_a_run_takes_and_draws_without_diffusers(
    people, models, tmp_path, monkeypatch, capfd
):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    out = tmp_path / "set"
    named = ("--base", NAMES[0], "--controlnet", NAMES[1], "--set", "controlnet.steps=20")
    monkeypatch.setattr(sys, "argv", command(people, models, out, *named, "--dry-run", 3))
    runpy.run_path(sys.argv[0], run_name="__main__")
    said = capfd.readouterr().out
    assert f"{NAMES[0]} from the Hub, 2.1 GB" in said and f"{NAMES[1]} from the Hub, 0.72 GB" in said
    assert "6 of 512 px, 10 steps each" in said and "an estimate, not measured here" in said
    table = pd.read_csv(out / "dry_run" / "requests.csv")
    assert len(table) == 3 and set(table["yaw"]) <= {-20, 20} and set(table["source_id"]) <= set(ids(people))
    assert table["prompt"].str.contains("a woman, 30 to 39 years old").all()
    drawn = [Image.open(out / "dry_run" / name) for name in table["control"]]
    assert {picture.size for picture in drawn} == {(512, 512)}
    assert all(0.001 < (np.array(picture) > 0).any(2).mean() < 0.1 for picture in drawn)
    assert Image.open(out / "dry_run" / "sheet.png").width > 3 * 160
    assert sorted(path.name for path in out.iterdir()) == ["dry_run"]  # a run may begin there


def ids(people):
    return pd.read_parquet(people / "manifest.parquet")["id"]


def test_a_dry_run_draws_what_the_run_paints_over(people, models, model):
    backend, faces = opened(models, model), Faces(people, 128, ("train", "val", "test"))
    job = controlnet_dry_run.look(
        str(models / "sd" / "base"), str(models / "sd" / "openpose"), Recipe(**SMALL)
    )
    slots = [Slot(0, "train", 20.0, 0.0, (1, 2)), Slot(1, "train", -20.0, 0.0, (3,))]
    drawn = list(controlnet_dry_run.draw(job, faces, slots, SourceRules(), model.head, 0))
    assert [one.request.row for one in drawn] == [1, 3] and job.side == backend.side
    for one in drawn:
        row = [one.request.row]
        marks, source = torch.from_numpy(faces.labels["landmarks"][row]), torch.from_numpy(one.source)
        face = source.permute(2, 0, 1)[None] / 127.5 - 1
        scene = backend.scene(face, marks, [source_labels(faces, row[0])], [one.request])
        for picture, own in ((scene.control, one.control), (scene.first, one.first)):
            assert np.abs(255 * picture[0].permute(1, 2, 0).numpy() - own).max() <= 1


def test_a_dry_run_asks_nobody_and_makes_up_no_figure(models, online):
    unknown = controlnet_dry_run.look("org/base", "org/openpose", Recipe())
    said = unknown.lines(100)
    assert "size unknown" in said[0] and "size unknown" in said[1] and "px unknown" in said[2]
    assert "unknown for this family" in said[3] and "GB" not in "".join(said)
    assert unknown.lines(480, 0.5)[3].startswith("GPU time: at least 1.0 hours (0.5 s a step as given")
    xl = controlnet_dry_run.look(
        "stabilityai/stable-diffusion-xl-base-1.0", "xinsir/controlnet-openpose-sdxl-1.0", Recipe()
    )
    assert (xl.side, xl.style) == (1024, "openpose") and "safety" not in "".join(xl.lines(1))
    own = controlnet_dry_run.look(*NAMES, Recipe(side=1024, gpu_dtype="float32")).lines(1)
    assert "size unknown" in own[0] and "unknown for this family and side" in own[3]
    assert online.seen == []
    folder = controlnet_dry_run.look(str(models / "xl" / "base"), "org/openpose", Recipe())
    assert "a folder; nothing to download" in folder.lines(1)[0] and folder.side == 1024
    assert "8.4 steps a second" in folder.lines(1)[3]


def test_a_dry_run_refuses_what_the_run_would(models, tmp_path):
    look = controlnet_dry_run.look
    assert "--base and --controlnet" in refusal(BadInput, look, "", "org/openpose", Recipe())
    base, other = str(models / "sd" / "base"), str(models / "xl" / "openpose")
    assert "one family" in refusal(BadInput, look, base, other, Recipe())
    (tmp_path / "openpose").mkdir()
    assert "holds no config.json" in refusal(MissingModel, look, base, str(tmp_path / "openpose"), Recipe())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--dry-run", 0), "--dry-run 0"),
        (("--dry-run", "--seconds-per-step", "nan"), "--seconds-per-step nan"),
        (("--seconds-per-step", 1), "is for --dry-run"),
        (("--dry-run", "--backend", "mesh"), "the mesh downloads nothing"),
    ],
)
def test_script_refuses_a_dry_run_that_cannot_be(tmp_path, monkeypatch, capfd, more, words):
    monkeypatch.setattr(sys, "argv", command(tmp_path, tmp_path, tmp_path / "set", *more))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(sys.argv[0], run_name="__main__")
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and last.startswith("error: ") and words in last
    assert not (tmp_path / "set").exists()
