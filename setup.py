"""Lays what the model card is rendered from into the package; pyproject.toml holds the rest."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARD = Path("model_card")


class BuildWithCard(build_py):
    """model_card's facts, licence and results -> ganime_age/model_card; an editable install reads them in place."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for file in [CARD / "facts.json", CARD / "LICENSE.md", *sorted(CARD.glob("results/*.json"))]:
                target = Path(self.build_lib, "ganime_age", file)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithCard})
