"""Recipes: experiments written down in YAML, validated before anything is trained."""

from privaudit.api.split_options import SplitOptions as SplitOptions
from privaudit.readers.shipped import shipped_recipes as shipped_recipes
from privaudit.recipe.model import Entry as Entry
from privaudit.recipe.model import Recipe as Recipe
from privaudit.recipe.model import Subject as Subject
from privaudit.recipe.schema import recipe_schema as recipe_schema
from privaudit.recipe.source import find_recipe as find_recipe
from privaudit.recipe.source import load_recipe as load_recipe
from privaudit.recipe.target import TargetOptions as TargetOptions
