"""Every built-in plugin that names a paper is held to it by a test: the list of them."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from privaudit import Plugin

ROOT = Path(__file__).resolve().parents[2]

HELD_BY: dict[str, str] = {
    # An independent formula, another library, or a number that was published. Not what the code
    # gave before, nor what it gives alone where it is asked about company.
    "dataset breast_cancer": "test_datasets.py::test_breast_cancer_has_569_standardised_records",
    "dataset cifar10": "test_datasets.py::test_cifar10_is_training_then_test_set",
    "dataset cifar100": "test_datasets.py::test_cifar100_has_fine_labels_and_its_own_mean",
    "dataset cubist_spiral": "test_cubist_spiral.py::test_the_points_are_those_of_the_authors_code",
    "dataset digits_rows": "test_datasets.py::test_digits_rows_are_the_rows_of_digits_from_above",
    "dataset digits": "test_datasets.py::test_digits_are_the_1797_of_scikit_learn",
    "model densenet40": "test_image_networks.py::test_densenet_computes_what_huang_et_al_draw",
    "model resnet18": "test_image_networks.py::test_resnet18_is_torchvisions_with_another_stem",
    "model resnet20": "test_models.py::test_resnet20_computes_what_he_et_al_draw",
    "model gru": "test_recurrent.py::test_answers_and_gradients_are_those_of_torch",
    "model lstm": "test_recurrent.py::test_answers_and_gradients_are_those_of_torch",
    "model rnn": "test_recurrent.py::test_answers_and_gradients_are_those_of_torch",
    "model timm": "test_timm.py::test_it_is_timm_s_own_network",
    "model vgg16_bn": "test_image_networks.py::test_vgg16_is_torchvisions_features_and_a_head",
    "model vit_tiny": "test_image_networks.py::test_vit_computes_what_torchs_encoder_layers_do",
    "sparsifier admm": "test_admm.py::test_weights_and_multipliers_are_those_of_a_plain_loop",
    "sparsifier admm_nn": "test_admm_nn.py::test_values_are_the_nearest_of_all",
    "sparsifier block_circulant": "test_block_circulant.py"
    "::test_linear_layer_multiplies_by_circulant_blocks",
    "sparsifier butterfly": "test_butterfly.py"
    "::test_shares_of_resnet20_are_the_published_ones_but_for_one",
    "sparsifier fine_pruning": "test_fine_pruning.py"
    "::test_the_least_active_filters_of_the_last_convolution_go",
    "sparsifier imp": "test_imp.py::test_resnet20_loses_a_fifth_of_its_weights_twenty_four_times",
    "sparsifier l1_structured": "test_one_shot.py::test_filters_are_those_that_torch_prunes",
    "sparsifier l1_unstructured": "test_one_shot.py"
    "::test_single_weights_are_those_that_torch_prunes",
    "sparsifier l2_structured": "test_one_shot.py::test_filters_are_those_that_torch_prunes",
    "sparsifier magnitude_at_init": "test_at_init.py"
    "::test_magnitudes_are_those_that_torch_prunes_in_the_untrained_network",
    "sparsifier mia_pruning": "test_mia_pruning.py"
    "::test_the_nearest_sparse_vector_keeps_the_largest_numbers_and_the_first_of_equals",
    "sparsifier monarch": "test_monarch.py::test_a_square_matrix_is_p_l_p_r",
    "sparsifier past": "test_past.py"
    "::test_gamma_is_the_gradient_of_the_loss_gap_over_its_sum_in_the_layer",
    "sparsifier qat": "test_qat.py::test_a_fit_is_that_of_a_straight_through_estimator",
    "sparsifier quantize": "test_quantize.py::test_rounding_is_that_of_plain_arithmetic",
    "sparsifier random_graph": "test_random_graph.py"
    "::test_the_shape_of_a_graph_is_what_networkx_says",
    "sparsifier static_mask": "test_static_mask.py"
    "::test_training_starts_from_what_is_given_and_keeps_its_zeros",
    "sparsifier random_at_init": "test_at_init.py"
    "::test_random_supports_at_initialisation_take_every_weight_equally_often",
    "sparsifier slimming": "test_slimming.py::test_the_penalty_is_the_sum_of_all_scales",
    "sparsifier small_dense": "test_small_dense.py"
    "::test_a_hidden_layer_is_as_wide_as_the_density_allows",
    "sparsifier snip": "test_at_init.py"
    "::test_snip_scores_weights_by_the_gradient_of_a_gate_before_them",
    "sparsifier synflow": "test_at_init.py::test_synflow_keeps_what_the_paper_s_algorithm_keeps",
    "defense ccl": "test_regularizers.py"
    "::test_the_convex_concave_loss_takes_the_exponential_of_the_confidence",
    "defense confidence_penalty": "test_regularizers.py"
    "::test_the_confidence_penalty_takes_the_weighted_entropy_from_the_loss",
    "defense cwrf": "test_cwrf.py::test_scores_are_those_of_plain_autograd",
    "defense dp_sgd": "test_dp_sgd.py::test_a_cohort_without_noise_follows_a_loop_over_examples",
    "defense early_stopping": "test_regularizers.py"
    "::test_early_stopping_waits_so_long_for_a_better_validation",
    "defense hamp": "test_hamp.py"
    "::test_the_loss_is_the_divergence_from_the_labels_less_the_weighted_entropy",
    "defense label_smoothing": "test_regularizers.py"
    "::test_label_smoothing_spreads_a_share_of_the_label",
    "defense memguard": "test_memguard.py::test_noise_is_that_of_the_algorithm_answer_by_answer",
    "defense min_max": "test_min_max.py::test_both_players_minimise_what_is_published",
    "defense mixup": "test_regularizers.py::test_mixup_mixes_labels_as_it_mixed_inputs",
    "defense ppb": "test_ppb.py::test_the_ranked_posteriors_of_pairs_are_drawn_together",
    "defense relaxloss": "test_relaxloss.py"
    "::test_odd_epochs_flatten_the_posterior_of_images_below_the_level",
    "attack bavaria": "test_bavaria.py::test_scores_are_ratios_of_predictive_densities",
    "attack both_networks": "test_both_networks.py"
    "::test_scores_are_those_of_numpy_from_the_logits_of_both_networks",
    "attack compleak": "test_compleak.py"
    "::test_features_are_the_predictions_label_and_losses_of_every_version",
    "attack confidence": "test_threshold_attacks.py"
    "::test_numbers_are_those_of_a_loop_over_probabilities",
    "attack correctness": "test_threshold_attacks.py::test_correctness_calls_who_is_right_a_member",
    "attack entropy": "test_threshold_attacks.py"
    "::test_numbers_are_those_of_a_loop_over_probabilities",
    "attack gradient_norm": "test_simple_attacks.py"
    "::test_gradient_norm_of_trained_networks_is_that_of_a_plain_autograd_loop",
    "attack informia": "test_informia.py::test_online_scores_equal_the_definition",
    "attack label_only": "test_simple_attacks.py"
    "::test_label_only_is_a_logistic_regression_of_who_is_right",
    "attack lira": "test_lira.py::test_scores_equal_a_loop_over_examples",
    "attack lira_augmented": "test_lira.py"
    "::test_queries_are_the_mirror_image_times_shifts_by_a_pixel",
    "attack logistic_regression": "test_attacks.py"
    "::test_log_odds_are_those_of_the_penalised_maximum_likelihood",
    "attack loss": "test_attacks.py::test_loss_decides_by_the_shadows_threshold",
    "attack modified_entropy": "test_threshold_attacks.py"
    "::test_numbers_are_those_of_a_loop_over_probabilities",
    "attack nn": "test_neural_attacks.py::test_perceptrons_see_the_prediction_as_the_paper_says",
    "attack nn_cls": "test_neural_attacks.py"
    "::test_perceptrons_see_the_prediction_as_the_paper_says",
    "attack nn_top3": "test_neural_attacks.py"
    "::test_perceptrons_see_the_prediction_as_the_paper_says",
    "attack population": "test_simple_attacks.py"
    "::test_population_counts_the_examples_with_so_low_a_loss",
    "attack quantile": "test_quantile.py"
    "::test_attack_nears_the_best_possible_where_confidence_alone_does_not",
    "attack reference": "test_simple_attacks.py"
    "::test_reference_subtracts_what_shadows_without_the_example_say",
    "attack rmia": "test_rmia.py::test_online_scores_equal_the_definition",
    "attack samia": "test_neural_attacks.py::test_self_attention_is_what_its_formulas_say",
    "attack shadow_mlp": "test_attacks.py"
    "::test_discriminators_trained_together_equal_each_trained_alone",
    "attack shokri": "test_shokri.py"
    "::test_each_class_has_the_network_that_numpy_trains_on_its_own_examples",
    "attack top1_confidence": "test_threshold_attacks.py"
    "::test_numbers_are_those_of_a_loop_over_probabilities",
}

NOT_YET: tuple[tuple[str, str], ...] = ()  # a plugin, and a sentence why: never to grow


def with_papers() -> dict[str, type[Plugin]]:
    """The built-in plugins that name a paper, by kind and name, as the source has them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        modules = tomllib.load(file)["project"]["entry-points"]["privaudit"].values()
    classes = [cls for module in modules for cls in import_module(module).privaudit_provide()]
    return {f"{c.kind} {c.model_fields['name'].default}": c for c in classes if c.paper}


@cache
def functions_in(file: str) -> dict[str, ast.FunctionDef]:
    """The test functions of a file of this folder, by name."""
    path = Path(__file__).parent / file
    if not path.is_file():
        return {}
    body = ast.parse(path.read_text("utf-8")).body
    found = [node for node in body if isinstance(node, ast.FunctionDef)]
    return {node.name: node for node in found if node.name.startswith("test_")}


def mistakes(
    plugins: Mapping[str, type[Plugin]],
    held_by: Mapping[str, str],
    not_yet: tuple[tuple[str, str], ...],
) -> list[str]:
    """What is wrong with a list, in words."""
    waiting = [name for name, _ in not_yet]
    listed = [*held_by, *waiting]
    wrong = [f"{name} names a paper, and no test holds it" for name in plugins.keys() - {*listed}]
    wrong += [f"{name} is no built-in plugin with a paper" for name in {*listed} - plugins.keys()]
    wrong += [f"{name} is listed twice" for name in {*listed} if listed.count(name) > 1]
    wrong += [f"{name}: no sentence why" for name, why in not_yet if not why.endswith(".")]
    for name, test in held_by.items():
        file, _, function = test.partition("::")
        node = functions_in(file).get(function)
        if node is None:
            wrong.append(f"{name}: there is no test {test}")
        elif not _compares(node):
            wrong.append(f"{name}: {test} compares nothing")
    return sorted(wrong)


def _compares(test: ast.FunctionDef) -> bool:
    called = {ast.unparse(n.func) for n in ast.walk(test) if isinstance(n, ast.Call)}
    asserts = any(isinstance(n, ast.Assert) for n in ast.walk(test))
    return asserts or any("assert_" in name for name in called)


def test_every_plugin_with_a_paper_is_held_to_it() -> None:
    assert mistakes(with_papers(), HELD_BY, NOT_YET) == []


@pytest.mark.parametrize("name", ["attack lira", "attack nn", "sparsifier past"])
def test_papers_are_found_where_classes_inherit_them(name: str) -> None:
    assert name in with_papers()


def test_mistakes_of_the_list_are_seen() -> None:
    plugins, lira, test = with_papers(), "attack lira", HELD_BY["attack lira"]
    one = {lira: plugins[lira]}
    assert mistakes(one, {lira: test}, ()) == []
    assert mistakes(one, {}, ()) == [f"{lira} names a paper, and no test holds it"]
    assert mistakes(one, {}, ((lira, "soon"),)) == [f"{lira}: no sentence why"]
    assert mistakes({}, {lira: test}, ()) == [f"{lira} is no built-in plugin with a paper"]
    assert mistakes(one, {lira: test}, ((lira, "Soon."),)) == [f"{lira} is listed twice"]
    for lost in ("test_lira.py::test_nothing", "test_gone.py::test_nothing", "test_lira.py"):
        assert mistakes(one, {lira: lost}, ()) == [f"{lira}: there is no test {lost}"]
