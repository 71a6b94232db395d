"""MACs and parameters of Proxyless, ResNet50D and AttentiveNAS: as counted on the originals' extracted networks."""

import re
from itertools import chain

import pytest

from pipeline.supernet.complexity import complexity
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.shapes import layers, parts
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import BlockChoice, StageChoice, Subnet
from pipeline.supernet.supernet import Supernet

PROXYLESS = [
    ("d4.4.4.4.4.1-k7777.7777.7777.7777.7777.7-e6666.6666.6666.6666.6666.6-r224", 1_004_908_032, 7_942_056),
    ("d2.2.2.2.2.1-k33.33.33.33.33.3-e33.33.33.33.33.3-r128", 87_823_104, 3_718_832),
    ("d2.2.2.2.2.1-k33.33.33.33.33.3-e33.33.33.33.33.3-r224", 265_526_256, 3_718_832),
    ("d3.4.4.3.3.1-k553.3773.7775.577.777.3-e666.4466.6664.433.446.6-r212", 632_859_344, 5_990_248),
    ("d2.2.2.2.2.1-k55.37.77.55.37.3-e64.64.34.36.46.4-r208", 370_116_976, 4_579_096),
    ("d2.4.2.2.4.1-k53.7755.37.75.7575.7-e36.4644.44.36.3444.3-r224", 471_689_640, 5_264_560),
    ("d4.2.3.2.4.1-k7557.55.337.33.5377.7-e6444.33.346.36.4346.3-r196", 462_987_784, 5_504_912),
    # Published as v100_gpu64@9ms.
    ("d2.2.3.3.3.1-k33.53.353.337.355.3-e33.36.446.464.644.4-r188", 312_808_424, 5_186_720),
]

# Indices: of depth in stem and stages, of the expand ratio of each block, of six widths.
RESNET50 = [
    ("d2.2.2.2.2-e2222.2222.222222.2222-w222222-r224", 7_491_643_904, 48_105_992),
    ("d0.0.0.0.0-e00.00.0000.00-w000000-r128", 315_079_552, 6_539_280),
    ("d0.0.0.0.0-e00.00.0000.00-w000000-r224", 962_192_128, 6_539_280),
    ("d0.1.0.2.0-e110.20.202122.11-w202201-r148", 1_273_294_208, 13_280_184),
    ("d2.1.0.2.1-e012.21.220200.010-w001121-r204", 2_932_833_824, 19_158_192),
    ("d2.0.0.0.2-e02.11.2211.2200-w120201-r224", 2_389_243_008, 19_582_752),
    ("d2.0.2.1.2-e20.0001.10222.0111-w000211-r184", 2_030_707_072, 19_553_824),
]

# Resolution, nine widths, and one kernel size, expand ratio and depth per stage; parameters that run, of the class.
ATTENTIVE_NAS = [
    ("r288-w24.24.32.40.72.128.216.224.1984-k5555555-e1666666-d2566882", 1_939_335_808, 23_404_080, 23_934_704),
    ("r192-w16.16.24.32.64.112.192.216.1792-k3333333-e1444466-d1333331", 203_389_568, 8_954_184, 9_064_648),
    ("r192-w24.24.32.40.72.120.200.216.1792-k3355553-e1444566-d1544732", 467_734_464, 12_710_008, 12_948_088),
    ("r192-w24.16.24.32.72.112.208.224.1984-k3355535-e1556666-d2533582", 485_635_712, 19_665_232, 20_083_408),
    ("r256-w24.16.32.32.64.112.208.224.1792-k5355353-e1645566-d2344442", 667_683_840, 13_203_728, 13_440_016),
    ("r192-w24.24.32.32.64.128.216.224.1792-k3355355-e1546466-d2354852", 505_858_368, 16_296_464, 16_668_560),
    ("r224-w16.16.24.32.64.112.200.224.1984-k3333353-e1454466-d1333341", 316_730_080, 11_149_824, 11_306_560),
    ("r256-w16.16.24.32.64.112.192.216.1984-k3335353-e1445466-d1334351", 443_530_752, 11_809_640, 11_997_928),
    ("r256-w16.16.24.32.72.112.192.216.1792-k3335333-e1454466-d1333461", 490_520_064, 12_597_464, 12_833_240),
    ("r256-w16.16.24.32.64.112.208.216.1984-k3333353-e1445466-d1334451", 491_481_088, 12_970_512, 13_196_944),
    ("r288-w16.16.24.32.64.112.200.216.1984-k3355333-e1444566-d2343351", 594_786_000, 12_404_424, 12_602_440),
    # A1, A3 and A6 of the paper, whose parameters are known as the class has them.
    ("r224-w16.16.24.32.64.112.192.216.1984-k3335353-e1444466-d1333331", 279_238_816, None, 9_563_336),
    ("r224-w16.16.24.32.64.112.208.224.1984-k3335333-e1444466-d2334351", 356_518_400, None, 12_999_072),
    ("r288-w16.16.24.32.64.112.216.224.1984-k3333353-e1465466-d1334461", 709_007_232, None, 15_441_448),
]

# MACs by part of the smallest ones: stem, blocks, head without its linear layers.
SMALLEST = {
    "proxyless": (
        128,
        (4_423_680, 5_406_720, 10_100_736, 7_176_192, 4_743_168, 5_203_968, 3_623_424, 4_333_056, 4_812_288, 6_512_640,
         4_724_736, 6_011_520, 8_011_392, 11_075_584),
    ),
    "resnet50": (
        128,
        (38_043_648, 23_134_208, 20_447_232, 40_402_944, 20_447_232, 42_409_984, 22_212_608, 22_212_608, 22_212_608,
         40_973_312, 21_255_168),
    ),
    "attentive_nas": (
        192,
        (3_981_312, 3_686_400, 15_187_968, 12_607_488, 12_607_488, 8_022_528, 5_390_336, 5_390_336, 3_999_744,
         5_050_368, 5_050_368, 7_884_800, 15_131_648, 15_131_648, 16_700_544, 16_962_048, 16_962_048, 19_450_368,
         12_400_128),
    ),
}  # fmt: skip


def resnet50(text: str) -> Subnet:
    """The subnet of OFA's indices."""
    space = NETWORKS["resnet50"]
    depths, expands, widths, resolution = re.fullmatch("d(.*)-e(.*)-w(.*)-r(.*)", text).groups()
    stem_depth, *depths = map(int, depths.split("."))
    middle, out, *widths = map(int, widths)
    stages = []
    for stage, depth, of_blocks, width in zip(space.stages, depths, expands.split("."), widths, strict=True):
        assert len(of_blocks) == stage.depths[depth]
        blocks = tuple(BlockChoice(3, stage.expands[int(index)]) for index in of_blocks)
        stages.append(StageChoice(stage.widths[width], blocks))
    first, _, last, _ = space.stem
    stem = (first.widths[middle], stem_depth // 2, last.widths[out])
    return Subnet(stem, tuple(stages), (), int(resolution))


def attentive_nas(text: str) -> Subnet:
    """The subnet of the papers' lists."""
    resolution, widths, *of_stages = re.fullmatch("r(.*)-w(.*)-k(.*)-e(.*)-d(.*)", text).groups()
    stem, *widths, last = map(int, widths.split("."))
    stages = [
        StageChoice(width, (BlockChoice(int(kernel), int(expand)),) * int(depth))
        for width, kernel, expand, depth in zip(widths, *of_stages, strict=True)
    ]
    return Subnet((stem,), tuple(stages), (last,), int(resolution))


@pytest.mark.parametrize(("text", "macs", "parameters"), PROXYLESS)
def test_proxyless(text: str, macs: int, parameters: int) -> None:
    space = NETWORKS["proxyless"]
    check(space, space.parse(text), macs, parameters)


@pytest.mark.parametrize(("text", "macs", "parameters"), RESNET50)
def test_resnet50(text: str, macs: int, parameters: int) -> None:
    check(NETWORKS["resnet50"], resnet50(text), macs, parameters)


@pytest.mark.parametrize(("text", "macs", "parameters", "of_class"), ATTENTIVE_NAS)
def test_attentive_nas(text: str, macs: int, parameters: int | None, of_class: int) -> None:
    space, subnet = NETWORKS["attentive_nas"], attentive_nas(text)
    # The originals' class also counts the shortcut's convolution of blocks where it never runs.
    blocks = parts(space, subnet).stages
    run = {layer.name for layer in layers(space, subnet)}
    idle = sum(block.inputs * block.outputs for block in blocks if f"{block.prefix}shortcut" not in run)
    check(space, subnet, macs, parameters or of_class - idle)
    assert complexity(space, subnet).parameters + idle == of_class


def check(space: Space, subnet: Subnet, macs: int, parameters: int) -> None:
    assert space.parse(str(space.validate(subnet))) == subnet
    found = complexity(space, subnet)
    assert (found.macs, found.parameters) == (macs, parameters)


@pytest.mark.parametrize("network", SMALLEST)
def test_the_parts_of_the_smallest(network: str) -> None:
    space, (resolution, expected) = NETWORKS[network], SMALLEST[network]
    stem, stages, _ = parts(space, space.smallest(), resolution)
    blocks = {shape.prefix for shape in (*stem, *stages) if isinstance(shape, BlockShape)}
    macs: dict[str, int] = {}
    for layer in layers(space, space.smallest(), resolution):
        prefix = next((each for each in blocks if layer.name.startswith(each)), None)
        part = prefix or ("stem" if layer in stem else "head")
        if layer.has_weights and layer.name != "classifier":
            inputs = 1 if layer.kind == "depthwise" else layer.inputs
            macs[part] = macs.get(part, 0) + inputs * layer.outputs * layer.kernel**2 * layer.side**2
    assert tuple(macs.values()) == expected


@pytest.mark.parametrize(
    ("network", "parameters"), [("proxyless", 7_956_882), ("resnet50", 48_105_992), ("attentive_nas", 23_934_704)]
)
def test_the_supernet_holds_as_many_parameters_as_the_published_files(network: str, parameters: int) -> None:
    assert sum(each.numel() for each in Supernet(NETWORKS[network]).parameters()) == parameters


def test_widths_follow_the_multiplier_in_all_layers() -> None:
    """At 1.3, as published."""
    stem, stages, head = parts(NETWORKS["proxyless"], NETWORKS["proxyless"].largest())
    outputs = [part.outputs for part in (*stem, *stages, *head) if isinstance(part, Layer | BlockShape)]
    runs = [width for width, before in zip(outputs, [0, *outputs], strict=False) if width != before]
    assert runs == [40, 24, 32, 56, 104, 128, 248, 416, 1664, 1000]


def test_resnets_middles_follow_the_active_width() -> None:
    space = NETWORKS["resnet50"]
    expected = {
        0: "32,64,136,264 40,88,168,336 56,120,232,464",
        1: "40,80,160,328 56,104,208,408 72,144,288,576",
        2: "48,104,208,408 64,128,256,512 88,176,360,720",
    }
    for width, texts in expected.items():
        for expand, text in enumerate(texts.split()):
            subnet = resnet50(f"d0.0.0.0.0-e{'.'.join(str(expand) * n for n in (2, 2, 4, 2))}-w{str(width) * 6}-r224")
            middles = [shape.middle for shape in parts(space, subnet).stages]
            assert list(dict.fromkeys(middles)) == list(map(int, text.split(",")))
    assert [part.outputs for part in parts(space, space.smallest()).stem] == [24, 40, 40]


def test_resolutions_of_attentive_nas_are_the_subnets_own() -> None:
    space = NETWORKS["attentive_nas"]
    assert space.image_sides == (224,)
    assert {space.image_side(each) for each in (space.smallest(), space.largest())} == {224}
    resized, *_ = parts(space, space.smallest()).stem
    assert (resized.kind, resized.side) == ("resize", 192)
    assert list(chain.from_iterable(space.largest().kernels)) == [5] * 37
