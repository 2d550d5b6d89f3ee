"""What changed between versions of scikit-learn, and how an object of an older one is evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from serval.conversion.old_versions import upgrades
from serval.conversion.old_versions.known import COMPARED, FIRST, LAST
from serval.conversion.old_versions.upgrades import Upgrade, Version


@dataclass(frozen=True)
class Change:
    """What version `since` changed in `estimators`; an empty tuple: in all. Objects of earlier versions get `upgrade`.

    In plain words for the documentation: `what` changed, how Serval sees (`seen`) that an object is concerned, and what
    it does (`done`).
    """

    since: Version
    estimators: tuple[str, ...]
    what: str
    seen: str
    done: str
    upgrade: Upgrade


BY_VERSION = "version"
SINGLE = ("DecisionTreeClassifier", "DecisionTreeRegressor")
EXTRA = ("ExtraTreeClassifier", "ExtraTreeRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
FORESTS = ("RandomForestClassifier", "RandomForestRegressor")
BOOSTING = ("GradientBoostingClassifier", "GradientBoostingRegressor")
ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
GENERALISED = ("GammaRegressor", "PoissonRegressor", "TweedieRegressor")
HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
LATENT = ("CCA", "PLSCanonical", "PLSRegression")
LOGISTIC = ("LogisticRegression", "LogisticRegressionCV")
CHANGES: tuple[Change, ...] = (
    Change(
        (1, 9), (),
        "new parameters (`handle_missing`, `keep_empty_features`, `sparse_output`, ...)",
        "the parameter is absent",
        "sets its default, which keeps what was",
        upgrades.new_parameters,
    ),
    Change(
        (1, 9), (*SINGLE, *EXTRA, *FORESTS),
        "trees with `monotonic_cst` take missing values",
        "version, `monotonic_cst`",
        "refuses missing values, as before",
        upgrades.no_missing_values_if_monotonic,
    ),
    Change(
        (1, 8), LOGISTIC,
        "`multi_class` is gone: probabilities of several classes are a softmax of the scores",
        "`multi_class` and `solver`: one-vs-rest, `liblinear`, `newton-cholesky` (before 1.6); two classes with"
        " `multinomial`",
        "computes a sigmoid for each class, divided by their sum; for two classes a softmax over -score and score",
        upgrades.multi_class,
    ),
    Change(
        (1, 8), LOGISTIC,
        "`SelectFromModel` knows an L1 penalty by `l1_ratio`",
        "`penalty`",
        "sets `l1_ratio` from it",
        upgrades.penalties,
    ),
    Change(
        (1, 8), ("GradientBoostingClassifier",),
        "probabilities of `init` keep less distance from 0 and 1",
        BY_VERSION,
        "keeps the distance of before, 1.2e-7",
        upgrades.bounded_init,
    ),
    Change(
        (1, 8), ("SimpleImputer",),
        "`_fill_dtype`, the type of what is filled in",
        "it is absent",
        "sets it to the type of `statistics_`",
        upgrades.imputed_type,
    ),
    Change(
        (1, 8), ("RidgeClassifier", "RidgeClassifierCV"),
        "`classes_` is an attribute of its own",
        BY_VERSION,
        "sets it to the classes of the label binarizer",
        upgrades.binarized_classes,
    ),
    Change(
        (1, 7), (),
        "`base_estimator` became `estimator` (1.2; chains 1.7; self-training 1.6)",
        "`base_estimator`, `base_estimator_`",
        "renames them",
        upgrades.base_estimators,
    ),
    Change(
        (1, 7), ("ColumnTransformer",),
        "`_RemainderColsList` is gone (1.7); `passthrough` became a fitted transformer (1.4)",
        "the class; the word in `transformers_`",
        "makes it a list; puts the transformer there",
        upgrades.passed_through,
    ),
    Change(
        (1, 6), ("AdaBoostClassifier",),
        "`SAMME.R`, the default, is gone; since 1.3, members that vote against a class count against it",
        "`algorithm`; version",
        "adds up the members' logarithmic probabilities; before 1.3, their votes alone",
        upgrades.boosted_votes,
    ),
    Change(
        (1, 6), ("NearestCentroid",),
        "priors of classes, probabilities, a decision function",
        "`class_prior_` is absent",
        "takes the nearest centroid, without probabilities",
        upgrades.nearest_centroid,
    ),
    Change(
        (1, 6), EXTRA,
        "missing values are taken",
        BY_VERSION,
        "refuses them, as before",
        upgrades.no_missing_values,
    ),
    Change(
        (1, 6), ("IterativeImputer",),
        "`_is_empty_feature`",
        BY_VERSION,
        "sets it from the statistics of the first imputer",
        upgrades.empty_features,
    ),
    Change(
        (1, 6), ("FunctionTransformer",),
        "`force_all_finite` of `check_array` became `ensure_all_finite`; boosting with categories keeps a call of it",
        "the keyword in `func`",
        "renames it",
        upgrades.renamed_check,
    ),
    Change(
        (1, 5), LATENT,
        "coefficients meet features that are not divided by their scale; since 1.3, they are transposed, and one"
        " target is a vector",
        "version; `_coef_` (1.1 and 1.2)",
        "divides the coefficients by the scale, transposes them",
        upgrades.scaled_coefficients,
    ),
    Change(
        (1, 4), ("DecisionTreeClassifier", "ExtraTreeClassifier"),
        "leaves hold shares of the classes; before, weighted counts, also in every ensemble",
        BY_VERSION,
        "divides the counts by their sum",
        upgrades.counted_leaves,
    ),
    Change(
        (1, 4), FORESTS,
        "missing values are taken",
        BY_VERSION,
        "refuses them, as before",
        upgrades.no_missing_values,
    ),
    Change(
        (1, 4), BOOSTING,
        "`_gb_losses` is gone; losses have other names (`deviance`, `ls`, `lad`); initial scores of several classes are"
        " centred",
        "the class of `_loss` or `loss_`",
        "takes today's loss of that name, and scores that are not centred",
        upgrades.boosted_losses,
    ),
    Change(
        (1, 4), HISTOGRAM,
        "categories pass through an encoder",
        "`_preprocessor` is absent",
        "takes categories as the numbers that they had to be",
        upgrades.histogram_preprocessor,
    ),
    Change(
        (1, 3), SINGLE,
        "missing values are taken; nodes say where they go",
        "version; `missing_go_to_left` is absent from the nodes",
        "refuses them, as before; adds the field",
        upgrades.no_missing_values,
    ),
    Change(
        (1, 3), ENCODERS,
        "categories that are infrequent (`OneHotEncoder` 1.1) or missing",
        "`_infrequent_enabled`, `_missing_indices` and others are absent",
        "sets that there are none",
        upgrades.no_infrequent_categories,
    ),
    Change(
        (1, 3), ("SGDClassifier", "SGDRegressor"),
        "losses `log` and `squared_loss` became `log_loss` and `squared_error`; their classes are gone (1.6)",
        "`loss`; `loss_function_`",
        "renames them; probabilities stay",
        upgrades.renamed_loss,
    ),
    Change(
        (1, 2), HISTOGRAM,
        "the losses of histogram boosting are gone (1.1), and have other names",
        "the class of `_loss`",
        "takes today's loss of that name",
        upgrades.histogram_losses,
    ),
    Change(
        (1, 2), ("StackingClassifier",),
        "`_le` became `_label_encoder`",
        "`_le`",
        "renames it",
        upgrades.stacked_labels,
    ),
    Change(
        (1, 2), ("CalibratedClassifierCV",),
        "`base_estimator` of its parts became `estimator`",
        "`base_estimator`",
        "renames it",
        upgrades.calibrated_members,
    ),
    Change(
        (1, 1), GENERALISED,
        "links and distributions are gone, losses take their place",
        "`_base_loss` is absent",
        "takes the loss of the same `power` and `link`",
        upgrades.generalised_loss,
    ),
    Change(
        (1, 1), ("KBinsDiscretizer",),
        "a value just below an edge (1e-8, or 1e-5 of its size) no longer belongs to the next bin",
        BY_VERSION,
        "moves each edge to the least number of which 1.0 says so",
        upgrades.tolerant_edges,
    ),
    Change(
        (1, 1), ("KNNImputer",),
        "`_valid_mask`",
        BY_VERSION,
        "sets it from the rows that were kept",
        upgrades.known_neighbours,
    ),
)  # fmt: skip
"""The newest first."""


def version_of(text: str) -> Version | None:
    """`1.3.2` as (1, 3); None for a text that is no version."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else None


def upgrade(model: Any, version: Version) -> None:
    """Make the present scikit-learn evaluate an object of an older version as that version did."""
    name = type(model).__name__
    for change in CHANGES:
        if version < change.since and (not change.estimators or name in change.estimators):
            change.upgrade(model, version)


def is_compared(model: Any, version: Version | None) -> bool:
    """Whether objects of this class and version were held against the real version."""
    return version is not None and FIRST <= version <= LAST and type(model).__name__ in COMPARED
