"""A recipe that cannot work is refused in one line that says where, what, and which values are legal."""

import re
from pathlib import Path

import pytest
import yaml

from pipeline.engines.ddp import DdpConfig
from pipeline.engines.deepspeed.config import DeepSpeedConfig, deepspeed_config
from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleConfig
from pipeline.errors import UsageError
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe, resolved
from pipeline.run.folder import begin, read_recipe, write
from tests.support.descriptions import DESCRIPTION

REPOSITORY = Path(__file__).parents[3]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
DIGITS = next(path for path in RECIPES if path.stem == "digits")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_parse_and_are_named_as_their_file(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_resolved_recipe_is_the_same_recipe(path: Path) -> None:
    recipe = load_recipe(path)
    assert Recipe.model_validate(yaml.safe_load(yaml.safe_dump(resolved(recipe)))) == recipe


def test_any_leaf_can_be_overridden() -> None:
    recipe = load_recipe(DIGITS, ["seed=3", "schedule.learning_rate.base=0.2", "space.kernels=[3]", "cost={}"])
    assert (recipe.seed, recipe.schedule.learning_rate.base, recipe.space.kernels) == (3, 0.2, (3,))


def test_another_engine_takes_none_of_the_recipes_settings_for_deepspeed() -> None:
    assert load_recipe(DIGITS).engine == DeepSpeedConfig(zero_stage=1)
    assert load_recipe(DIGITS, ["engine.name=ddp", "engine.lost_after=9"]).engine == DdpConfig(lost_after=9)
    assert load_recipe(DIGITS, ["engine.name=deepspeed"]).engine == DeepSpeedConfig(zero_stage=1)
    # What somebody asks for is not left out, in whichever order, but refused.
    for overrides in (["engine.zero_stage=1", "engine.name=ddp"], ["engine.name=ddp", "engine.zero_stage=1"]):
        with pytest.raises(
            UsageError, match=r"engine.zero_stage: unknown key where name is 'ddp'; legal keys: lost_after, name$"
        ):
            load_recipe(DIGITS, overrides)
    with pytest.raises(UsageError, match=r"engine.deepspeed: unknown key where name is 'fsdp'; legal keys: "):
        load_recipe(DIGITS, ["engine.name=fsdp", "engine.deepspeed={dump_state: true}"])


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp"])
def test_another_engine_leaves_out_no_key_that_the_recipes_own_does_not_have(name: str, tmp_path: Path) -> None:
    path = tmp_path / "digits.yaml"
    path.write_text(DIGITS.read_text().replace("zero_stage: 1}", "zero_stage: 1, lost_aftr: 9, lost_after: 8}"))
    with pytest.raises(UsageError, match=r"engine.lost_aftr: unknown key .*; did you mean 'lost_after'"):
        load_recipe(path, [f"engine.name={name}"])
    path.write_text(DIGITS.read_text().replace("zero_stage: 1}", "zero_stage: 1, lost_after: 8}"))
    assert load_recipe(path, ["engine.name=deepspeed", f"engine.name={name}"]).engine.model_dump() == {
        "name": name,
        "lost_after": 8,
    }


def test_a_section_without_a_name_is_of_the_default() -> None:
    assert load_recipe(DIGITS, ["engine={zero_stage: 2}"]).engine == DeepSpeedConfig(zero_stage=2)
    assert load_recipe(DIGITS, ["engine={}", "engine.name=single"]).engine == SingleConfig()
    assert load_recipe(DIGITS).optimizer == load_recipe(DIGITS, ["optimizer={name: sgd}"]).optimizer == SgdConfig()


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp"])
def test_what_earlier_versions_wrote_of_deepspeed_for_other_engines_says_nothing(name: str) -> None:
    """The recipes in their run folders have it."""
    written = f"engine={{name: {name}, zero_stage: 0, deepspeed: {{}}, lost_after: 60}}"
    assert load_recipe(DIGITS, [written]) == load_recipe(DIGITS, [f"engine={{name: {name}}}"])
    assert load_recipe(DIGITS, [written, "engine.name=deepspeed"]).engine == DeepSpeedConfig()
    with pytest.raises(UsageError, match=r"engine.zero_stage: unknown key"):
        load_recipe(DIGITS, [written.replace("zero_stage: 0", "zero_stage: 1")])


@pytest.mark.parametrize("engine", ["{name: fsdp}", "{name: deepspeed, zero_stage: 3}"])
def test_graphs_are_refused_where_weights_are_sharded(engine: str) -> None:
    with pytest.raises(UsageError, match=r"model.cuda_graphs: a graph needs weights that stay in one place"):
        load_recipe(DIGITS, ["model.cuda_graphs=true", f"engine={engine}"])


def documented_commands() -> list[tuple[str, str]]:
    """Recipe and overrides of all commands that start or plan a training, in documents, headers and help."""
    files = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/README.md"), REPOSITORY / "pipeline" / "cli.py"]
    text = "\n".join(path.read_text() for path in [*files, *REPOSITORY.glob("recipes/*.*")])
    return sorted(set(re.findall(r"(?:deps \w+|pipeline\.train) (recipes/\w+\.yaml)((?: [\w.]+=[^\s`\[]+)*)", text)))


def test_documented_commands_are_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    commands = documented_commands()
    assert ("recipes/digits.yaml", " name=digits-1 seed=1 engine.name=single") in commands
    for path, overrides in commands:
        load_recipe(Path(path), overrides.split())


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "schedule.epsilon_rampp=0",
            r"schedule.epsilon_rampp: unknown key where name is 'deps'; did you mean 'epsilon_ramp'\? legal keys: ",
        ),
        ("sed=1", "sed: unknown key; did you mean 'seed'"),
        ("data.augmentation.flipp=true", "data.augmentation.flipp: unknown key; did you mean 'flip'"),
        ("batch_size=many", "batch_size: input should be a valid integer.* not 'many'"),
        ("batch_size=0", "batch_size: input should be greater than 0, not 0"),
        ("space.network=vgg", "space.network: input should be 'mobilenet_v3', .* or 'attentive_nas_digits', not 'vgg'"),
        (
            "space.widths=[2]",
            "space.widths: unknown key where network is 'mobilenet_v3_digits'; .* legal keys: classes, ",
        ),
        ("engine.name=horovod", "engine.name: input should be 'single', 'ddp', 'fsdp' or 'deepspeed', not 'horovod'"),
        ("engine.name=[ddp]", r"engine.name: input should be 'single', .* or 'deepspeed', not \['ddp'\]"),
        ("engine.name=null", "engine.name: input should be 'single', .* or 'deepspeed', not None"),
        ("engine=5", "engine: must be a mapping with a name out of single, ddp, fsdp, deepspeed, not 5"),
        ("engine.lost_after=soon", "engine.lost_after: input should be a valid number.*, not 'soon'"),
        ("engine.zero_stag=1", "zero_stag: unknown key where name is 'deepspeed'; did you mean 'zero_stage'"),
        ("optimizer.name=adam", "optimizer.name: input should be 'sgd', not 'adam'"),
        ("optimizer.momentun=0.8", "optimizer.momentun: unknown key; did you mean 'momentum'"),
        ("optimizer=0.8", "optimizer: must be a mapping with keys out of gradient_clip, .*name.*, not 0.8"),
        ("data.workers=-1", "data.workers: input should be greater than or equal to 0, not -1"),
        ("schedule.duration=soon", "schedule.duration: is no duration; write '30 epochs'.* not 'soon'"),
        ("space.kernels=[4]", r"kernels: \[4\] must be distinct values out of \[3, 5, 7\]"),
        ("name=../elsewhere", "name: "),
        ("seed", "override 'seed': must be key=value"),
        ("seed.deeper=1", "override 'seed.deeper=1'"),
        ("space=null", "space: must be a mapping with a name out of mobilenet_v3, .*, not None"),
        ("data=5", "data: must be a mapping with keys out of .*shards"),
        ("schedule.learning_rate.base=.inf", "schedule.learning_rate.base: input should be a finite number"),
    ],
)
def test_a_wrong_value_is_named_with_the_legal_ones(override: str, complaint: str) -> None:
    overrides = [override] if override != "seed.deeper=1" else ["seed=1", override]
    with pytest.raises(UsageError, match=complaint) as caught:
        load_recipe(DIGITS, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("- a list", "must be a mapping"),
        ("a: [1", "is not YAML"),
        ("name: x", "batch_size: is missing .and 3 more."),
        (b"\xff\xfe\x00", "is not a text file"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(content: str | bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=complaint) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere.yaml: No such file"):
        load_recipe(tmp_path / "nowhere.yaml")


IDENTITY = {"train": "a" * 64, "test": "b" * 64}


def begun(tmp_path: Path) -> Recipe:
    recipe = load_recipe(DIGITS, [f"runs={tmp_path}"])
    write(recipe, DESCRIPTION.model_copy(update={"data": IDENTITY}))
    return recipe


def test_values_mean_what_they_say_whatever_yaml_makes_of_them() -> None:
    recipe = load_recipe(DIGITS, ["schedule.distillation=off", "name=7"])
    assert (recipe.schedule.distillation, recipe.name) == ("off", "7")


def test_a_run_is_not_begun_twice_by_accident(tmp_path: Path) -> None:
    recipe = begun(tmp_path)
    with pytest.raises(UsageError, match=r"is not empty; continue its run with --resume, or choose another name="):
        begin(recipe, IDENTITY, resume=False)
    begin(recipe, IDENTITY, resume=True)
    assert read_recipe(recipe.folder) == recipe


@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_ended_before_its_recipe_was_written_has_begun_nothing(resume: bool, tmp_path: Path) -> None:
    recipe = load_recipe(DIGITS, [f"runs={tmp_path}"])
    recipe.folder.mkdir()
    for name in ("run.lock", "run.json", ".config.yaml.writing"):
        (recipe.folder / name).write_text("{}")
    begin(recipe, IDENTITY, resume)
    (recipe.folder / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"is not empty|is no run folder"):
        begin(recipe, IDENTITY, resume)


def test_a_run_is_not_resumed_with_what_would_train_other_weights(tmp_path: Path) -> None:
    begun(tmp_path)
    changed = load_recipe(DIGITS, [f"runs={tmp_path}", "optimizer.momentum=0.8"])
    with pytest.raises(UsageError, match=r"was begun with optimizer.momentum=0.9, not 0.8"):
        begin(changed, IDENTITY, resume=True)


def test_a_run_may_be_resumed_by_another_engine_or_with_other_workers(tmp_path: Path) -> None:
    begun(tmp_path)
    free = ["engine={name: fsdp}", "model.activation_checkpointing=true", "data.workers=3", "evaluation.every=3 epochs"]
    begin(load_recipe(DIGITS, [f"runs={tmp_path}", *free]), IDENTITY, resume=True)


REFUSED = [
    ("{gradient_accumulation_steps: 2}", "engine: deepspeed.gradient_accumulation_steps: refused: a step's sub-steps"),
    ("{train_batch_size: 8}", "deepspeed.train_batch_size: refused: it follows from batch_size"),
    ("{gradient_clipping: 1.0}", "deepspeed.gradient_clipping: refused: set optimizer.gradient_clip"),
    ("{bf16: {enabled: true}}", "deepspeed.bf16.enabled: refused: it casts the weights"),
    ("{fp16: {}}", "deepspeed.fp16: refused: it casts the weights"),
    ("{zero_optimization: {stage: 2}}", "deepspeed.zero_optimization.stage: refused: set engine.zero_stage"),
    (
        "{zero_optimization: {offload_optimizer: {device: cpu}}}",
        "deepspeed.zero_optimization.offload_optimizer.device: refused: sub-steps",
    ),
    ("{zero_optimization: {overlap_comm: true}}", "overlap_comm: refused: at ZeRO stage 1 it loses the gradients"),
    ("{zero_optimization: {reduce_buckets: 1}}", "deepspeed.zero_optimization.reduce_buckets: unknown, or not tried"),
    ("{zero_optimisation: {}}", "deepspeed.zero_optimisation: unknown, or not tried with sub-steps; legal keys: comms"),
    ("{zero_optimization: 3}", "deepspeed.zero_optimization: must be a mapping"),
    ("{flops_profiler: true}", "deepspeed.flops_profiler: must be a mapping, not True"),
    ("{memory_breakdown: {every: 1}}", "deepspeed.memory_breakdown: must be true or false, not {'every': 1}"),
    *(
        (f"{{steps_per_print: {value}}}", "deepspeed.steps_per_print: must be a whole number above 0, not")
        for value in ("0", "true", "{}", "often")
    ),
    ("[]", "engine.deepspeed: input should be a valid dictionary"),
]


@pytest.mark.parametrize(("additions", "reason"), REFUSED)
def test_what_deepspeed_cannot_do_right_here_is_refused_with_the_reason(additions: str, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_recipe(DIGITS, ["engine={name: deepspeed, zero_stage: 1}", f"engine.deepspeed={additions}"])
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_recipe_adds_to_deepspeeds_configuration_and_leaves_the_rest_as_the_engine_needs_it() -> None:
    added = "engine.deepspeed={zero_optimization: {reduce_bucket_size: 5, overlap_comm: true}, dump_state: true}"
    engine = load_recipe(DIGITS, ["engine={name: deepspeed, zero_stage: 2}", added]).engine
    alone, both = (deepspeed_config(2, 0.5, 8, each) for each in ({}, engine.deepspeed))
    assert alone["zero_optimization"] == {"stage": 2, "overlap_comm": False}
    assert both == {
        **alone,
        "zero_optimization": {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 5},
        "dump_state": True,
    }
    assert (both["gradient_clipping"], both["train_micro_batch_size_per_gpu"]) == (0.5, 8)


def test_recomputed_blocks_and_graphs_exclude_each_other() -> None:
    with pytest.raises(UsageError, match=r"model: activation_checkpointing: cannot be had with cuda_graphs"):
        load_recipe(DIGITS, ["model={activation_checkpointing: true, cuda_graphs: true}"])


def test_a_run_is_not_resumed_on_another_data_set_of_the_same_size(tmp_path: Path) -> None:
    recipe = begun(tmp_path)
    with pytest.raises(UsageError, match=r"data.shards: data/digits is not the data set that .* was begun on"):
        begin(recipe, {**IDENTITY, "test": "c" * 64}, resume=True)


@pytest.mark.parametrize("left", ["metrics.jsonl", "ledger.json", "checkpoints"])
def test_a_folder_with_anything_in_it_is_not_begun_anew(left: str, tmp_path: Path) -> None:
    recipe = load_recipe(DIGITS, [f"runs={tmp_path}"])
    (recipe.folder / left).mkdir(parents=True)
    with pytest.raises(UsageError, match="is not empty"):
        begin(recipe, IDENTITY, resume=False)
    with pytest.raises(UsageError, match="is no run folder"):
        begin(recipe, IDENTITY, resume=True)


@pytest.mark.parametrize("content", ["[]", "{", "5", "{}"])
def test_a_damaged_description_is_named(content: str, tmp_path: Path) -> None:
    recipe = begun(tmp_path)
    (recipe.folder / "run.json").write_text(content)
    with pytest.raises(UsageError, match=r"run.json: is damaged"):
        begin(recipe, IDENTITY, resume=True)
