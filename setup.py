"""Distribution of the once-for-all training pipeline: packages, version ranges and the command `deps`."""

from setuptools import find_packages, setup

# Not pinned in constraints.txt: torch's CUDA builds bring the one that they need.
TRITON = 'triton>=3.6,<3.10; platform_system == "Linux"'

# Search and export; all of it is in `dev` as well, for the tests.
DEPLOY = [
    "pymoo>=0.6.2,<0.7",  # NSGA-II by ask and tell, with operators of one's own; all that it draws follows from a seed
    "onnx>=1.23,<2",  # the format of exported subnets
    "onnxscript>=0.7,<0.8",  # torch's exporter writes ONNX by it, and each torch by versions of its time
    "onnxruntime>=1.23,<2",  # runs and quantises ONNX files; 1.24 and later need Python 3.11
]

# Supernets by their name on the Hugging Face hub, and the check of a model card's front matter.
HUB = "huggingface-hub>=2.4,<3"

setup(
    name="delayed-epsilon-shrinking",
    version="0.1.0",
    description="Once-for-all supernet training by delayed epsilon-shrinking (DεpS)",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(
        include=[
            f"{name}{suffix}" for name in ("pipeline", "kernels", "data_shards", "cluster") for suffix in ("", ".*")
        ]
    ),
    package_data={
        "kernels.cpu": ["*.cpp", "*.h"],
        "pipeline.bench.searching": ["*.json"],
        "cluster": ["templates/*.j2"],
        "cluster.testing": ["*.j2", "*.sh"],
    },
    py_modules=["deps_command"],
    entry_points={"console_scripts": ["deps = deps_command:main"]},
    install_requires=[
        "torch>=2.11",
        "deepspeed>=0.19.8,<0.20",  # gradients at stage 2 and the accumulation boundary rely on its internals
        "webdataset>=1.0.2,<2",
        "mlflow>=3.17.2,<4,!=3.18.0",  # 3.18.0 cannot be resolved: its skinny part is missing
        "pyyaml>=6",
        "pydantic>=2.10,<3",
        "safetensors>=0.5",
        "simplejpeg>=1.9",  # libjpeg-turbo with scaled decoding, several times faster than PIL
        "opencv-python-headless>=4.10",
        "scikit-learn>=1.5",  # carries the digits data set; ridge regression with cross-validation
        "pillow>=10",  # decodes what is no plain JPEG (PNG, CMYK, WebP …) when packing, and says what is wrong with it
        "numpy>=2",
        "scipy>=1.11",  # mixup's beta distribution; Student's t of comparisons; ImageNet's MATLAB file
        "typer>=0.19",
        "rich>=13.9",
        "matplotlib>=3.9",
        "jinja2>=3.1",  # batch scripts from templates; torch needs it as well
        "filelock>=3.20",  # keeps others away where a file system has no flock; torch needs it as well
        "psutil>=5.9",  # the start of this process, which the ledger counts from
    ],
    extras_require={
        "dali": ["nvidia-dali-cuda130==2.4.0"],
        "deploy": DEPLOY,
        "hub": [HUB],
        "triton": [TRITON],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "pytest-timeout>=2.3",
            "hypothesis>=6",
            "markdown-it-py>=3",  # what a reader makes of report.md; rich needs it as well
            "ruff",
            "pyright",
            *DEPLOY,
            HUB,
            TRITON,  # its interpreter tests the GPU's kernels on a CPU
        ],
    },
)
