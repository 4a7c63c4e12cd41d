"""What the tests of the pages have to be told: what is made smaller, what is not run, and why.

Commands are named by how they begin, blocks by their first line. An entry that no page uses any
more is refused.
"""

from __future__ import annotations

SMALLER = {
    "privaudit run recipes/digits.yaml": "--set training.epochs=1 --set seeds=1 "
    "--set attacks=[logistic_regression] --set 'sparsifiers=[dense,{name: imp, rounds: 1}]'",
    "privaudit run digits": "--set training.epochs=10 --set seeds=2 --set 'attacks=[loss]' "
    "--set 'sparsifiers=[dense,{name: imp, rounds: 1}]'",
    "privaudit run protects.yaml": "--set training.epochs=20 --set seeds=2 --set shadows=2 "
    "--set split.members=100",
    "privaudit run first.yaml": "--set training.epochs=1 --set seeds=1 --set attacks=[loss]",
    "privaudit run first.yaml --dry-run": "--set training.epochs=1",
    "privaudit run first.yaml --plugin": "--set training.epochs=1 --set seeds=1",
}
"""Options that make a command quick; what it prints then has other numbers than the page."""

VALIDATED = {
    "privaudit run recipes/attacks_digits.yaml": "66 networks",
    "privaudit run recipes/attacks_location30.yaml": "66 networks",
    "privaudit run recipes/location30.yaml": "its data is downloaded",
    "privaudit run recipes/cifar_resnet20_quick.yaml": "likewise, and takes minutes",
    "privaudit run recipes/fang_kim_cwrf_quick.yaml": "its data is downloaded",
    "privaudit run recipes/gonon_accuracy_matched_quick.yaml": "its data is downloaded",
    "privaudit run recipes/wang_min_max_pruning_quick.yaml": "its data is downloaded",
    "privaudit run recipes/yuan_zhang_pruning_quick.yaml": "its data is downloaded",
    "privaudit run attacks_digits --set name=defenses": "twelve defenses, nine networks each",
    "privaudit run attacks_location30 --set name=versions": "its data is downloaded",
}
"""Recipes that are not run, only read with all their changes: the reason."""

NOT_RUN = {
    "pip install": "changes the environment that the tests run in; `.ci/run` and test_scaffold do",
    "pytest": "is what runs this",
    ".ci/run": "runs this",
    "mkdocs serve": "serves until it is stopped; `.ci/run` builds the site",
    "python -m tests.campaign": "takes an hour and more",
    "python -m benchmarks.": "measures the machine, for minutes",
    "privaudit report runs/digits-* --format html --output report.html --gate": "of a run that the "
    "page does not make; tests/audit/report/test_gates.py gates runs",
}
"""Commands that are not run: the reason."""

FRAGMENTS: dict[str, str] = {}
"""Blocks of YAML that are part of a recipe: the shipped recipe in which they are tried."""

NOT_PRINTED = {
    "first.yaml:5: training.epocs": "of a recipe with mistakes; test_readme reads that recipe",
    "Recipe → Cohort": "a drawing",
    "subject  nonzero %      train %      test %": "of attacks_location30, which is downloaded",
}
"""Blocks of text that no command above them prints: where they come from."""

PACKAGES = {
    ".frame()": "pandas",
    "from xgboost": "xgboost",
    "from lightgbm": "lightgbm",
    "transformers": "transformers",
}
"""What the Python of a page cannot do without a package that is no dependency of ours."""
