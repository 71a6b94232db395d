"""The command `deps`: one line of glue per subcommand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from data_shards.cli import app as shards_app
from data_shards.command_line import SEEDS, CommandGroup, real, whole
from data_shards.one_line import one_line
from pipeline.console.exit_codes import exit_code, one_line_errors
from pipeline.errors import UsageError

app = typer.Typer(
    cls=CommandGroup,
    help="Once-for-all training, by delayed ε-shrinking (DεpS) and others: one supernet, thousands of subnets.",
    epilog="Start with [bold]make demo[/bold], or: deps train recipes/digits.yaml --dry-run",
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
app.add_typer(shards_app, name="shards")

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file, see recipes/.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[key=value]...",
        help="Of any recipe key. engine.name=… leaves out what only the engine in the recipe has.",
        show_default=False,
    ),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, runs/NAME.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("train", epilog="Example: [bold]deps train recipes/digits.yaml seed=1 engine.name=single --resume[/bold]")
def train_command(
    recipe: RecipePath,
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run if it was begun.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build all but the data; print steps, subnets, MACs and a cost estimate.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
) -> None:
    """Train a supernet on this process.

    On many: deepspeed --num_gpus N --module pipeline.train RECIPE, or torchrun --nproc-per-node N -m pipeline.train
    RECIPE.
    """
    from pipeline.recipe.reading import load_recipe

    loaded = load_recipe(recipe, overrides or ())
    if dry_run:
        from pipeline.forecast.dry_run import print_dry_run

        print_dry_run(loaded, as_json)
        return
    from pipeline.experiment import train

    raise typer.Exit(exit_code(train(loaded, resume)))


@app.command("describe", epilog="Example: [bold]deps describe mobilenet_v3 --depth 3 --expand 4 --kernel 7[/bold]")
def describe_command(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A network's name or a RECIPE.", show_default=False)],
    depth: Annotated[int | None, whole(1, 99, help="Blocks per stage.", show_default=False)] = None,
    expand: Annotated[int | None, whole(1, 99, help="Expand ratio.", show_default=False)] = None,
    kernel: Annotated[int | None, whole(1, 99, help="Depthwise kernel size.", show_default=False)] = None,
    resolution: Annotated[int | None, whole(1, 4096, help="Side of the input, pixels.", show_default=False)] = None,
    width: Annotated[
        float | None, real(0.05, 4, help="Width multiplier, of networks that have one; their own by default.")
    ] = None,
    subnet: Annotated[str | None, typer.Option(help="In words: d2.3.4.4.2-k7-e6-r224.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """MACs and parameters of a space's subnets: of one, or without options of the whole Pareto row."""
    from pipeline.commands.describe import print_description

    print_description(space, depth, expand, kernel, resolution, width, subnet, as_json)


@app.command(
    "evaluate",
    epilog="Example: [bold]deps evaluate runs/digits --subnet d1.2-k3-e4-r32[/bold] · "
    "[bold]deps evaluate imported --data shards/imagenet[/bold]",
)
def evaluate_command(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder, runs/NAME, or an imported supernet.", show_default=False),
    ],
    subnet: Annotated[
        list[str] | None, typer.Option(help="Also this one; may be repeated.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="SHARDS", help="The data set of a supernet without a recipe.", show_default=False),
    ] = None,
    convention: Annotated[
        str,
        typer.Option(help="With --data, how images are shown: ofa, compofa, deps, attentive_nas, alpha_net, none."),
    ] = "auto",
    validation: Annotated[
        bool,
        typer.Option(
            "--validation", help="On the run's validation images, to choose by; written to validation.json instead."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Held-out accuracy of the Pareto row of subnets, each with recalibrated batch norm. Written to evaluation.json."""
    from pipeline.commands.evaluate import print_evaluation

    print_evaluation(run, subnet or (), as_json, data, convention, validation)


@app.command(
    "search",
    epilog="Example: [bold]deps search runs/digits --limit macs=1.5M --evaluations 100[/bold] · "
    "[bold]deps search runs/digits --profile[/bold] · "
    "[bold]deps search runs/digits --limit latency=0.2ms --against latency --latency table.json[/bold]",
)
def search_command(
    run: RunFolder,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="Greatest value of a measure, as macs=300M, params=5M or latency=5ms; may be repeated.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[str, typer.Option(help="What accuracy is weighed against: macs, params or latency.")] = "macs",
    latency: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Latencies: of deps latency build, or OFA's (YAML).", show_default=False),
    ] = None,
    evaluations: Annotated[int, whole(2, 100_000, help="Subnets that this search measures.")] = 250,
    seed: Annotated[int, whole(0, SEEDS, help="Of all that is drawn.")] = 0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only print the least, middle and greatest value of each measure.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The most accurate subnets at their cost, each measured on validation images with recalibrated batch norm.

    Evaluations are kept in RUN/search: a search that was killed goes on there, and later ones begin with them.
    """
    from pipeline.commands.search import print_profile, print_search
    from pipeline.search.objectives import check_measure, check_table, parse_limits
    from pipeline.search.rounds import Search

    check_measure(against, "--against")
    limits = parse_limits(limit or ())
    check_table(against, limits, has_table=latency is not None)
    if profile:
        print_profile(run, latency, as_json)
    else:
        print_search(run, Search(against, limits, evaluations, seed), latency, as_json)


@app.command(
    "predictor",
    epilog="Example: [bold]deps predictor runs/digits100_deps --subnets 200 --output predictor.json[/bold], then "
    "[bold]deps train recipes/digits100_attentive.yaml schedule.sampling.predictor=predictor.json[/bold]",
)
def predictor_command(
    run: RunFolder,
    output: Annotated[Path, typer.Option(metavar="FILE", help="A new file.", show_default=False)],
    subnets: Annotated[int, whole(10, 100_000, help="How many random ones are measured.")] = 200,
    seed: Annotated[int, whole(0, 2**32 - 1, help="Of the subnets that are drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the predictor as JSON.")] = False,
) -> None:
    """Fit a predictor of accuracy to subnets of a trained run, measured on its validation images."""
    from pipeline.commands.predictor import print_predictor

    print_predictor(run, subnets, seed, output, as_json)


@app.command(
    "finetune",
    epilog="Example: [bold]deps finetune runs/digits100_deps --subnet d2-k3-e4-r32 --teacher "
    '"schedule.duration=5 epochs" schedule.learning_rate.base=0.01[/bold]',
)
def finetune_command(
    run: RunFolder,
    subnet: Annotated[str, typer.Option(help="As deps describe, evaluate and search name it.", show_default=False)],
    overrides: Overrides = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="Also learn from the full model, frozen; schedule.kd_ratio says how much.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue it if it was begun.")] = False,
    as_json: Json = False,
) -> None:
    """Train one subnet of a trained run further, from the supernet's weights, and tell what it gained.

    It is a run of its own beside RUN, whose recipe it takes: 5 epochs at a tenth of the rate, unless keys say
    otherwise. On many processes: deepspeed --num_gpus N --no_local_rank --module deps_command finetune RUN …
    """
    from pipeline.commands.finetune import print_finetuning

    stopped = print_finetuning(run, subnet, teacher, overrides or (), resume, as_json)
    raise typer.Exit(exit_code(stopped))


@app.command("report", epilog="Example: [bold]deps report runs/ramp-0 runs/no-ramp-0 --output report[/bold]")
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the page; RUN/report for a single run.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths and the figures as JSON.")] = False,
) -> None:
    """Write a page (report.md, report.html) with accuracy against MACs and cost, learning curves, the cost table."""
    from pipeline.commands.report import print_report

    print_report(runs, output, as_json)


@app.command(
    "compare",
    epilog="Examples: [bold]deps compare recipes/digits100_deps.yaml recipes/digits100_ofa.yaml engine.name=single "
    "--seeds 5 --equal-cost --runs-at-once 2 --output compared[/bold] · [bold]deps compare "
    "recipes/digits100_deps.yaml --vary schedule.full_model_warmup=25%,50%,75% --seeds 5 --output warmups[/bold] · "
    '[bold]deps compare recipes/imagenet1k_*.yaml --seeds 3 --output compared --submit "--nodes 1 --gpus-per-node 8 '
    '--time 24:00:00"[/bold]',
)
def compare_command(
    context: typer.Context,
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE... [key=value]...",
            help="The first is what the others are compared with; overrides are of all.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of runs and page.", show_default=False)],
    seeds: Annotated[int, whole(1, 1000, help="Each recipe is trained with seeds 0 to N - 1.")] = 1,
    vary: Annotated[
        str | None,
        typer.Option(metavar="KEY=V1,V2,…", help="Compare each recipe once for each value.", show_default=False),
    ] = None,
    equal_cost: Annotated[
        bool, typer.Option("--equal-cost", help="Scale all durations to the training MACs of the first recipe.")
    ] = False,
    training_macs: Annotated[
        float | None, real(1, 1e27, help="Scale them to so many training MACs.", show_default=False)
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=V1,V2,…",
            help="Train each recipe with each value first, and take the best one on validation images.",
            show_default=False,
        ),
    ] = None,
    choose_seeds: Annotated[int, whole(1, 1000, help="Seeds for that, other ones than those compared.")] = 1,
    runs_at_once: Annotated[int, whole(1, 1024, help="Runs that train here at the same time.")] = 1,
    submit: Annotated[
        str | None,
        typer.Option(
            metavar="OPTIONS",
            help="Train on a SLURM cluster instead, with these options of deps submit; once the job has ended, the "
            "same command writes the page.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths and the figures as JSON.")] = False,
) -> None:
    """Train recipes over several seeds, as far as that is missing, and write one page of what they come to.

    Called again after whatever ended it, it goes on: what is trained is kept. A run that fails is told, stops no other,
    and makes the exit code 1.
    """
    from pipeline.commands.compare import Asked, print_comparison

    def submits(runs: Sequence[str]) -> None:
        group = context.find_root().command
        command = group.get_command(context, "submit") if isinstance(group, TyperGroup) else None
        if command is None:
            raise UsageError("--submit: needs the command deps submit, which is not here")
        command.main(list(runs), prog_name="deps submit", standalone_mode=False)

    asked = Asked(
        arguments,
        output,
        seeds,
        vary,
        equal_cost,
        training_macs,
        choose,
        choose_seeds,
        runs_at_once,
        submit,
    )
    raise typer.Exit(exit_code(print_comparison(asked, submits, as_json)))


@app.command("weights", epilog="Example: [bold]deps weights runs/digits --best --output best[/bold]")
def weights_command(
    run: RunFolder,
    output: Annotated[Path, typer.Option(help="Folder of the files.", show_default=False)],
    best: Annotated[
        bool, typer.Option("--best", help="Of the checkpoint with the best held-out accuracy, not of the newest.")
    ] = False,
) -> None:
    """Write the plain weights of a checkpoint (supernet.safetensors, supernet.json), also while the run goes on."""
    from pipeline.commands.weights import print_weights

    print_weights(run, best, output)


@app.command(
    "card",
    epilog="Example: [bold]deps card runs/digits --output hub/digits --license apache-2.0[/bold], then "
    "[bold]hf upload OWNER/digits hub/digits[/bold]",
)
def card_command(
    run: RunFolder,
    output: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    licence: Annotated[
        str, typer.Option("--license", help="Of the weights, as the hub names it: apache-2.0, cc-by-nc-4.0, other.")
    ] = "unknown",
) -> None:
    """Write a finished run's supernet and a model card into a folder that the Hugging Face hub takes as it is.

    The card has what deps search found (else what deps evaluate measured), the cost, the recipe, how to load it, and
    checksums. Nothing is uploaded. What is uploaded loads as hf-hub:OWNER/NAME wherever an imported supernet does.
    """
    from pipeline.commands.card import print_card

    print_card(run, output, licence)


@app.command(
    "import",
    epilog="Example: [bold]deps import ofa_mbv3_d234_e346_k357_w1.0 --output ofa[/bold] · "
    "[bold]deps import attentive_nas.pth.tar --network attentive_nas --output attentive[/bold], then "
    "[bold]deps evaluate ofa --data shards/imagenet[/bold]",
)
def import_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A checkpoint that torch.save wrote, or the folder of a static network of OFA's.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    network: Annotated[str, typer.Option(help="A network's name; auto finds it out.")] = "auto",
    ema: Annotated[bool, typer.Option("--ema", help="Take the moving average of the weights (DεpS).")] = False,
    resolution: Annotated[
        int | None,
        whole(1, 4096, help="Side of a static network's images, pixels, where it does not tell.", show_default=False),
    ] = None,
    epsilon: Annotated[
        float | None,
        real(1e-9, 1, help="Of batch norm, if not its authors' (Proxyless 1e-3, others 1e-5).", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Read a published supernet (OFA, CompOFA, DεpS, AttentiveNAS, AlphaNet) and write it as one of ours.

    Nothing is run that the file asks for. What is missing, too many or of another shape is named, and nothing written.
    """
    from pipeline.commands.import_checkpoint import print_import

    print_import(file, network, output, ema, resolution, epsilon, as_json)


@app.command(
    "export-checkpoint", epilog="Example: [bold]deps export-checkpoint runs/digits --output supernet.pth[/bold]"
)
def export_checkpoint_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="With a supernet: a run's, or an imported one.", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="A new file.", show_default=False)],
) -> None:
    """Write a supernet in the published layout of its network, for the programs that read those."""
    from pipeline.commands.export_checkpoint import print_export

    print_export(folder, output)


@app.command(
    "export",
    epilog="Example: [bold]deps export runs/digits --subnet d1.2-k3-e4-r32 --format onnx,int8,torch "
    "--output deployed[/bold]",
)
def export_command(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder, runs/NAME, or an imported supernet.", show_default=False),
    ],
    subnet: Annotated[str, typer.Option(help="In words, as deps search and evaluate print it.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder.", show_default=False)],
    formats: Annotated[
        str, typer.Option("--format", help="onnx, int8 (ONNX), torch (torch.export), with commas between them.")
    ] = "onnx",
    max_drop: Annotated[
        float, real(0, 100, help="Most points of top-1 that INT8 may lose; layers stay in float until it holds.")
    ] = 1.0,
    data: Annotated[
        Path | None,
        typer.Option(metavar="SHARDS", help="The data set of a supernet without a recipe.", show_default=False),
    ] = None,
    convention: Annotated[
        str,
        typer.Option(help="With --data, how images are shown: ofa, compofa, deps, attentive_nas, alpha_net, none."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print what card.json holds.")] = False,
) -> None:
    """Write a subnet as files that run without this project, checked on real images, with a card of figures.

    Batch norm is recalibrated and folded. Where INT8 cannot be had within --max-drop, or a file does not give the
    network's logits, nothing is written, and the exit code is 1.
    """
    from pipeline.commands.export import Asked, parse_formats, print_export

    asked = Asked(run, subnet, parse_formats(formats), output, max_drop, data, convention)
    print_export(asked, as_json)


@app.command("sync", epilog="Example: [bold]deps sync runs/digits[/bold]")
def sync_command(
    run: RunFolder,
    experiment: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Have the run in this experiment from here on, all of it.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Send to MLflow what it lacks of a run, for example after its server was down."""
    from pipeline.commands.sync import print_sync

    print_sync(run, experiment, as_json)


@app.command(
    "plan",
    epilog="Example: [bold]deps plan recipes/imagenet1k_deps.yaml --gpu h200 --gpus-per-node 8 --nodes 2[/bold] · "
    "[bold]deps plan recipes/digits100_deps.yaml --gpu-hours 0.05 --write short.yaml[/bold] · "
    "[bold]deps plan recipes/digits100_deps.yaml --training-macs 1e12 --write short.yaml[/bold]",
)
def plan_command(
    recipe: RecipePath,
    overrides: Overrides = None,
    gpu: Annotated[
        str, typer.Option(help="v100, a100, h100, h200, cpu: whose links are meant; another with --link and --network.")
    ] = "cpu",
    gpus_per_node: Annotated[int, whole(1, 1024, help="Accelerators of a node.")] = 8,
    gpus: Annotated[
        list[int] | None,
        whole(1, 1_000_000, help="Plan for this many; may be repeated. 1, 2, 4, … 512.", show_default=False),
    ] = None,
    nodes: Annotated[
        list[int] | None,
        whole(
            1, 100_000, help="Plan for this many nodes, all of their accelerators; may be repeated.", show_default=False
        ),
    ] = None,
    link: Annotated[
        float | None, real(1e-3, 1e5, help="GB/s between accelerators of a node, one way.", show_default=False)
    ] = None,
    network: Annotated[
        float | None, real(1e-3, 1e5, help="GB/s of each node's network, one way.", show_default=False)
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="Step times that --save wrote, on another machine.", show_default=False)
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the step times measured here to this file.", show_default=False)
    ] = None,
    gpu_hours: Annotated[
        float | None,
        real(1e-6, 1e12, help="Budget: accelerator hours; with --gpu cpu, CPU process hours.", show_default=False),
    ] = None,
    training_macs: Annotated[
        float | None,
        real(1, 1e27, help="Budget: multiply-accumulates, forward and backward, of all images.", show_default=False),
    ] = None,
    dollars: Annotated[
        float | None, real(0, 1e15, help="Budget, by cost.price_per_gpu_hour.", show_default=False)
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="With a budget: write its recipe to this file.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Step time, hours and dollars on 1 to 512 accelerators, from step times of one and the bandwidth of the links.

    With a budget, the other way round: the recipe scaled to it, its proportions kept, on --gpus (1) accelerators.
    """
    from pipeline.forecast.budget import budget_of, print_budget
    from pipeline.forecast.costs import print_costs
    from pipeline.recipe.reading import load_recipe

    asked = sorted({*(gpus or ()), *(count * gpus_per_node for count in nodes or ())})
    loaded = load_recipe(recipe, overrides or ())
    if budget := budget_of(gpu_hours, training_macs, dollars, write):
        print_budget(loaded, budget, gpu, gpus_per_node, asked, link, network, measured, save, write, as_json)
        return
    counts = asked or [1 << power for power in range(10)]
    print_costs(loaded, gpu, gpus_per_node, counts, link, network, measured, save, as_json)


latency_app = typer.Typer(
    cls=CommandGroup, help="How long subnets take where they will run: tables of their blocks, and what these predict."
)
app.add_typer(latency_app, name="latency")


@latency_app.command(
    "build",
    epilog="Example: [bold]deps latency build runs/digits --output table.json[/bold] · "
    "[bold]deps latency build mobilenet_v3 --threads 2 --output phone.json[/bold]",
)
def latency_build_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run's folder, or instead a network's name or a RECIPE.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="TABLE", help="A new file (JSON).", show_default=False)],
    runtime: Annotated[str, typer.Option(help="Where subnets are to run: onnxruntime.")] = "onnxruntime",
    threads: Annotated[int, whole(1, 1024, help="That one network computes with.")] = 1,
    batch: Annotated[int, whole(1, 4096, help="Images at a time.")] = 1,
    resolutions: Annotated[
        str | None, typer.Option(help="Some of the space's, as 192,224; all by default.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Time every block that subnets consist of, and whole subnets to correct their sums and to check them.

    Rounds are kept in TABLE.rounds until the table is there: a build that was killed goes on.
    """
    from pipeline.commands.latency import print_build

    print_build(source, runtime, threads, batch, resolutions, output, as_json)


@latency_app.command("predict", epilog="Example: [bold]deps latency predict table.json d2-k3-e4-r32[/bold]")
def latency_predict_command(
    table: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="Of deps latency build, or OFA's (YAML).", show_default=False),
    ],
    subnet: Annotated[str, typer.Argument(metavar="SUBNET", help="In words: d2-k3-e4-r32.", show_default=False)],
    space: Annotated[
        str | None,
        typer.Option(help="A network's name, a RECIPE or a RUN; needed where the table tells none, as OFA's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """The latency of a subnet, as a table predicts it."""
    from pipeline.commands.latency import print_prediction

    print_prediction(table, subnet, space, as_json)


bench_app = typer.Typer(cls=CommandGroup, help="Measure speed on this machine.")
app.add_typer(bench_app, name="bench")


BenchDevice = Annotated[str | None, typer.Option(help="cpu or cuda; a GPU where there is one.", show_default=False)]
BenchOutput = Annotated[
    Path | None, typer.Option(help="Folder of CSV and plot; kernels/bench/results in the project.", show_default=False)
]


BenchNetwork = Annotated[
    str | None,
    typer.Option(help="A network's name; mobilenet_v3_32px on CPUs, mobilenet_v3 on GPUs.", show_default=False),
]


@bench_app.command(
    "kernels",
    epilog="Example: [bold]deps bench kernels --network resnet50 --operation conv --repeats 20[/bold] · "
    "[bold]deps bench kernels --compile --arch sm_90[/bold]",
)
def bench_kernels_command(
    network: BenchNetwork = None,
    device: BenchDevice = None,
    batch: Annotated[int | None, whole(1, 65536, help="Images; 64 on CPUs, 128 on GPUs.", show_default=False)] = None,
    repeats: Annotated[int, whole(1, 10_000, help="Times each is measured; the median counts.")] = 10,
    operation: Annotated[
        list[str] | None,
        typer.Option(help="Only this one (pointwise, depthwise, …); may be repeated.", show_default=False),
    ] = None,
    compile_only: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Instead, compile Triton's kernels for GPUs, which takes none: registers, spills, occupancy, and a "
            "model of their time. Of mobilenet_v3 and batch 128 where nothing else is said.",
        ),
    ] = False,
    arch: Annotated[
        str, typer.Option(help="For which GPUs to compile: sm_80 (A100), sm_90 (H100, H200), sm_100 (B200).")
    ] = "sm_80,sm_90,sm_100",
    output: BenchOutput = None,
    as_json: Json = False,
) -> None:
    """Each operation of the elastic layers, forward and backward, against plain PyTorch, OFA style and the roofline.

    Every result is compared with float64 first; where it differs, no figure is given and the exit code is 1. With
    --compile, the exit code is 1 where blocks that are tried first spill registers.
    """
    if compile_only:
        from pipeline.bench.compile import print_compile_benchmark

        print_compile_benchmark(network or "mobilenet_v3", batch or 128, arch.split(","), output, as_json)
        return
    from pipeline.bench.kernels import print_kernel_benchmark

    print_kernel_benchmark(network, device, batch, repeats, operation or (), output, as_json)


@bench_app.command(
    "step",
    epilog="Example: [bold]deps bench step --network mobilenet_v3_32px --batch 64[/bold] · "
    "[bold]deps bench step --launches[/bold]",
)
def bench_step_command(
    network: BenchNetwork = None,
    batch: Annotated[
        list[int] | None,
        whole(
            2,
            65536,
            "--batch",
            "--batch-size",
            help="Images per step; may be repeated. 64 on CPUs, 128 and 256 on GPUs.",
            show_default=False,
        ),
    ] = None,
    repeats: Annotated[int, whole(1, 10_000, help="Steps of each contender; the median counts.")] = 5,
    device: BenchDevice = None,
    output: BenchOutput = None,
    launches: Annotated[
        bool,
        typer.Option(
            "--launches", help="Count instead what the step launches on a GPU (mobilenet_v3's), which needs none."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """One sandwich step (full, smallest, two random) against plain PyTorch, OFA style and plain networks.

    Losses and gradients are compared with float64 first; where they differ, no figure is given and the exit code is 1.
    """
    if launches:
        from pipeline.bench.launches import print_step_launches

        print_step_launches(network or "mobilenet_v3", as_json)
        return
    from pipeline.bench.step import print_step_benchmark

    print_step_benchmark(network, batch or (), repeats, device, output, as_json)


@bench_app.command(
    "data",
    epilog="Examples: [bold]deps bench data[/bold] · [bold]deps bench data --quick --json[/bold] · "
    "[bold]deps bench data --workers 8 --images 8192 --output results[/bold]",
)
def bench_data_command(
    images: Annotated[int | None, whole(1, 1_000_000, help="Of each data set: 4096.", show_default=False)] = None,
    workers: Annotated[
        int | None, whole(1, 1024, help="Processes or threads that read: one per core.", show_default=False)
    ] = None,
    repeats: Annotated[
        int | None, whole(1, 10_000, help="Turns of each reader: 5; the median counts.", show_default=False)
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only see that all of it works: the figures mean little.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of CSV and plot; data_shards/bench_results in the project.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Readers of generated photographs against webdataset, DALI and files; a training's wait; a start at 1.28M samples.

    What each reader shows is checked first; where it is wrong, no figure is given and the exit code is 1.
    """
    from pipeline.bench.data import print_data_benchmark

    print_data_benchmark(images, workers, repeats, quick, output, as_json)


@bench_app.command("search", epilog="Example: [bold]deps bench search --seeds 5 --evaluations 250[/bold]")
def bench_search_command(
    seeds: Annotated[int, whole(1, 1000, help="Searches of each contender.")] = 5,
    evaluations: Annotated[int, whole(10, 100_000, help="Subnets that each search measures.")] = 250,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of CSV and plot; pipeline/bench/searching/results in the project.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Our search against plain NSGA-II and random subnets, on OFA's MobileNetV3 with accuracies by a formula."""
    from pipeline.bench.search import print_search_benchmark

    print_search_benchmark(seeds, evaluations, output, as_json)


@bench_app.command(
    "evaluate", epilog="Example: [bold]deps bench evaluate --network mobilenet_v3_32px --images 500[/bold]"
)
def bench_evaluate_command(
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="A network's name; may be repeated. mobilenet_v3_digits (as for digits100) and mobilenet_v3_32px on "
            "CPUs, mobilenet_v3 on GPUs.",
            show_default=False,
        ),
    ] = None,
    subnets: Annotated[int, whole(1, 10_000, help="Random subnets that are measured.")] = 16,
    images: Annotated[
        int, whole(100, 1_000_000, help="Images that they are measured on; twice as many recalibrate.")
    ] = 1000,
    repeats: Annotated[int, whole(1, 10_000, help="Turns of each contender; the median counts.")] = 3,
    device: BenchDevice = None,
    output: BenchOutput = None,
    as_json: Json = False,
) -> None:
    """Subnets of a supernet measured per minute, against extracting and evaluating them one by one.

    The accuracies are compared; where they differ, no figure is given and the exit code is 1.
    """
    from pipeline.bench.evaluate import print_evaluate_benchmark

    print_evaluate_benchmark(network or (), subnets, images, repeats, device, output, as_json)


@bench_app.command("gpu", epilog="Example: [bold]make gpu[/bold] · [bold]deps bench gpu --dry-run[/bold]")
def bench_gpu_command(
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where a folder named by GPU and date is made; kernels/bench/results in the project.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the parts, their commands and limits.")] = False,
    as_json: Json = False,
) -> None:
    """All that a GPU can tell, in 25 minutes: its tests, operations and steps at batch 128 and 256, short trainings.

    The folder gets the output of each part, figures, and a page: what passed, failed, was left out, and why. A part
    that fails or runs over its limit stops no other; the exit code is 1 then.
    """
    from pipeline.bench.gpu import print_gpu_suite

    print_gpu_suite(output, dry_run, as_json)


# What typer raises for a command line that is none; older versions raise click's. Typed as the subclass that is public.
_NotUnderstood: type[typer.BadParameter] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run a command line; known failures become one line and exit code 2 or 1."""
    with one_line_errors("deps"):
        try:
            sys.exit(app(prog_name="deps", standalone_mode=False))
        except _NotUnderstood as error:
            command = error.ctx.command_path if error.ctx else "deps"
            message = one_line(error.format_message(), 240).removesuffix(".")
            print(f"{command}: {message} (see {command} --help)", file=sys.stderr)
            sys.exit(2)
