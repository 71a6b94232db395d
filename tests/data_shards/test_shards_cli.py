"""`deps shards`: what its commands print, draw and refuse."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.on_device import augment_on_device
from data_shards.cli import app
from data_shards.errors import ShardUsageError
from data_shards.loading.batch_reader import training_batch
from data_shards.looking.augmented import AugmentedLook, augmented_sheet, read_look
from data_shards.looking.sheet import contact_sheet, count, spread_over_classes
from data_shards.randomness import Draws
from data_shards.store.index import open_split


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_packing_from_the_command_line(tmp_path):
    out = tmp_path / "digits100"
    arguments = ("pack", "digits100", out, "--train", 30, "--test", 10, "--seed", 2, "--samples-per-shard", 8)
    first, again = run(*arguments), run(*arguments)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout.strip() == f"{out}: 30 train, 10 test images in 100 classes"
    assert again.stdout.strip().endswith(", already there")
    assert len(open_split(out, "train")) == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pack", "cats", "out"), "'cats' is no data set that can be packed; these can: digits, digits100"),
        (("pack", "digits", "out", "--train", 5), "--train is for digits100"),
        (("verify", "nowhere"), "no shards at nowhere"),
        (("show", "nowhere"), "no shards at nowhere"),
    ],
)
def test_a_user_error_is_one_line_for_the_caller_to_print(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, ShardUsageError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_verify_exits_with_one_and_a_line_for_each_damage(breakable):
    whole = run("verify", breakable)
    assert (whole.exit_code, whole.stdout.strip()) == (0, f"{breakable}: every sample is as it was packed")
    (breakable / "train" / "train-000001.tar").unlink()
    (breakable / "test" / "test-000000.tar").unlink()
    damaged = run("verify", breakable)
    assert damaged.exit_code == 1
    assert [line.split(":")[0] for line in damaged.stdout.splitlines()] == [
        str(breakable / "train" / "train-000001.tar"),
        str(breakable / "test" / "test-000000.tar"),
    ]
    as_json = run("verify", breakable, "--json")
    assert as_json.exit_code == 1
    findings = json.loads(as_json.stdout)
    assert [(finding["key"], finding["samples"]) for finding in findings] == [("000000040", 40), ("000000000", 40)]
    assert set(findings[0]) == {"shard", "key", "offset", "reason", "samples"}


def test_verify_json_of_a_whole_data_set_is_an_empty_list(digits100_root):
    assert json.loads(run("verify", digits100_root, "--json").stdout) == []


def test_show_draws_a_sheet_and_counts(digits_root, tmp_path):
    sheet = tmp_path / "sheet.png"
    result = run("show", digits_root, "--split", "test", "--output", sheet, "--count", 20)
    assert result.exit_code == 0
    assert "train: 1,438 samples, 10 classes of 139 to 146 (mean 143.8)" in result.stdout
    as_json = json.loads(run("show", digits_root, "--output", sheet, "--split", "test", "--count", 20, "--json").stdout)
    assert as_json["splits"]["train"] == {"samples": 1438, "classes": 10, "least": 139, "mean": 143.8, "most": 146}
    assert as_json["contact_sheet"] == str(sheet)
    drawn = cv2.imread(str(sheet))
    assert (drawn[:, :, ::-1] == contact_sheet(open_split(digits_root, "test"), 20)).all()
    assert run("show", digits_root, "--split", "val").exit_code != 0
    unwritable = run("show", digits_root, "--output", tmp_path / "no" / "folder.png")
    assert "cannot be written" in str(unwritable.exception)


def test_a_sheet_shows_every_class_it_has_room_for(digits_root):
    split = open_split(digits_root, "train")
    sheet = contact_sheet(split, 10)
    tiles = [sheet[10 + 128 * line :, 10 + 106 * column :][:96, :96] for line in range(3) for column in range(4)][:10]
    stored = {
        split.labels[sample]: [] for sample in range(len(split))
    }  # every tile must be some stored image of its class
    for sample in range(len(split)):
        stored[split.labels[sample]].append(split.read(sample))
    for label, tile in enumerate(tiles):
        small = tile[::3, ::3]
        decoded = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1] for jpeg in stored[label]]
        assert min(np.abs(small.astype(int) - image).max() for image in decoded) <= 2


def test_counts_are_per_class(digits100_root):
    counts = count(open_split(digits100_root, "train"))
    assert counts == (150, 100, 1, 1.5, 2)


RECIPE = """
seed: 5
data:
  shards: elsewhere
  augmentation: {crop: padded, flip: true, auto_augment: cifar10, colour_jitter: [0.4, 0.4, 0.4, 0.1], cutmix: 1.0}
space: {unknown: to this package}
"""


def test_an_augmented_sheet_shows_what_training_shows(photos_root, tmp_path):
    recipe, drawn = tmp_path / "recipe.yaml", tmp_path / "sheet.png"
    recipe.write_text(RECIPE)
    side = 96
    options = ("--epoch", 3, "--count", 30, "--resolution", side, "--output", drawn)
    result = run("show", photos_root, "--augmented", recipe, *options)
    assert result.exit_code == 0, result.output
    sheet = cv2.imread(str(drawn))[:, :, ::-1]
    tiles = [[sheet[10 + 128 * line :, 10 + 106 * column :][:side, :side] for column in range(8)] for line in range(4)]
    split, look = open_split(photos_root, "train"), read_look(recipe)
    ids = spread_over_classes(split, 4)
    batch = training_batch(split, look.augmentation, Draws(5, 4, ids), side)
    images, _ = augment_on_device(batch.images, batch.labels, batch.draws, look.augmentation, 4)
    for line in range(4):
        assert np.abs(tiles[line][2] - images[line].numpy()).max() <= 0.51, "epoch 4 is the second after the stored one"
    assert any((tiles[0][1] != tiles[0][column]).any() for column in range(2, 8))


def test_lines_of_an_augmented_sheet_come_in_pairs_where_images_are_mixed(photos_root):
    mixing, plain = (AugmentedLook(Augmentation(crop="padded", mixup=alpha), 0) for alpha in (0.2, 0.0))
    split = open_split(photos_root, "train")
    assert augmented_sheet(split, mixing, images=24, resolution=96).shape[0] == 10 + 2 * 128
    assert augmented_sheet(split, plain, images=24, resolution=96).shape[0] == 10 + 3 * 128


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("[1", "is not YAML"),
        ("name: x", "has no key 'data'"),
        ("- data", "has no key 'data'"),
        ("seed: x\ndata: {shards: y}", "seed: 'x' is not a whole number"),
        ("data: {shards: x, augmentation: {mixup: -1}}", "data.augmentation.mixup: Input should be greater than or"),
        ("data: {shards: x, augmentation: {colour_jitter: [2, 0, 0, 0]}}", r"colour_jitter: \[2.0, 0.0, 0.0, 0.0\] is"),
        ("data: 3", "data: Input should be a valid dictionary"),
    ],
)
def test_a_recipe_that_cannot_be_shown_is_named(content, complaint, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    if content is not None:
        recipe.write_text(content)
    with pytest.raises(ShardUsageError, match=complaint) as caught:
        read_look(recipe)
    assert str(recipe) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_belongs_to_augmented_is_refused_without_it(digits100_root):
    assert "--epoch is for --augmented" in str(run("show", digits100_root, "--epoch", 2).exception)


@pytest.mark.parametrize("command", [(), ("pack",), ("verify",), ("show",)])
def test_every_command_explains_itself(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert not command or "Example" in result.stdout
