"""Maps the folders of the repository to the package `sayso`; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = {"agent": "sayso", "tools": "sayso.tools", "prompts": "sayso.prompts", "evals": "sayso.evals"}

here = Path(__file__).parent
present = {folder: name for folder, name in FOLDERS.items() if (here / folder).is_dir()}
setup(
    package_dir={name: folder for folder, name in present.items()},
    packages=[
        package
        for folder, name in present.items()
        for package in [name, *(f"{name}.{sub}" for sub in find_packages(str(here / folder)))]
    ],
)
