"""Refusals of a whole model: what it is, its columns, labels and categories, and the rows that it takes."""

from serval.conversion.refusals.kind import Kind
from serval.errors import NotAPredictor, NotConvertible

SAMPLE = "send a `sample` of rows that it answers with the upload"
RENAME = "rename it in the training data and fit again, or in `columns` if the upload names them"
OTHER_TEXT = "shorten or replace it in the training data, and fit again"

NO_SKLEARN_PREDICTOR = Kind(
    NotAPredictor,
    "The file holds a `{type}`, which is not a scikit-learn predictor",
    "upload a fitted classifier or regressor of scikit-learn",
    "An object that has `fit` or `predict`, but is no estimator of scikit-learn.",
)
OTHER_ESTIMATOR = Kind(
    NotAPredictor,
    "`{type}` is {what}, and Serval serves classifiers and regressors",
    "put a classifier or regressor at the end of a pipeline, fit it, and save that",
    "A transformer, a clusterer, an outlier detector or a density.",
)
NOT_FITTED = Kind(
    NotAPredictor, "{estimator} is not fitted", "call `fit` on the model before saving it", "The model or a step of it."
)
SEARCH_WITHOUT_MODEL = Kind(
    NotAPredictor,
    "{estimator} searched with `refit=False`, so there is no fitted model in it",
    "search with `refit=True`, or save {way}",
    "A search that kept only scores.",
)
TOO_MANY_COLUMNS = Kind(
    NotConvertible,
    "The model takes {count} columns, and Serval serves up to {limit}",
    "select columns before the model is fitted, and fit it on at most {limit}",
    "Wide tables, such as counts of words.",
)
NO_COLUMNS = Kind(
    NotConvertible,
    "`{type}` reads no column",
    "fit it on a table with at least one column that a step reads",
    "A baseline that was fitted on an empty table, or behind a transformer that drops all columns.",
)
TOO_MANY_TARGETS = Kind(
    NotConvertible,
    "The model answers {count} targets, and Serval serves up to {limit}",
    "fit several models on at most {limit} targets each",
    "Very wide tables of targets.",
)
TOO_MANY_LABELS = Kind(
    NotConvertible,
    "The model has {count} class labels, and Serval serves up to {limit}",
    "join rare classes in the training data, and fit again; for numbers, fit a regressor",
    "A classifier of numbers or ids.",
)
TOO_MANY_CATEGORIES = Kind(
    NotConvertible,
    "The encoders of the model know {count} categories, most of them of the column `{column}`, and refuse others;"
    " Serval lists up to {limit}",
    "call `set_params(handle_unknown='ignore')` on the encoder (of `OrdinalEncoder`, `handle_unknown="
    "'use_encoded_value', unknown_value=-1`), which needs no fitting, and save again",
    "Ids in an encoder that refuses unknown values.",
)
NAMES_DO_NOT_FIT = Kind(
    NotConvertible,
    "`columns` names {given} columns, but the model takes {count}",
    "give one name for each column, or leave `columns` out",
    "A wrong `columns` in the upload.",
)
HAS_NAMES = Kind(
    NotConvertible,
    "`columns` names {column}, but the model was fitted on a table with names: {names}",
    "leave `columns` out, and name the columns as the table did",
    "`columns` in the upload of a model that needs none.",
)
NUMBER_OF_COLUMNS_UNKNOWN = Kind(
    NotConvertible,
    "`{type}` does not show how many columns it takes",
    SAMPLE,
    "A model that checks nothing when it is fitted, such as a baseline of an older version.",
)
EMPTY_NAME = Kind(NotConvertible, "Column {position} has an empty name", RENAME, "An index column of pandas.")
NAME_NOT_SERVED = Kind(
    NotConvertible, "The name of the column `{column}` {problem}", RENAME, "Very long or undecodable names."
)
SAME_NAMES = Kind(NotConvertible, "Two columns have the name `{column}`", RENAME, "Repeated names.")
LABEL_NOT_IN_JSON = Kind(
    NotConvertible,
    "{what} is a `{type}` ({value}), which JSON cannot express",
    "make it a string or a number in the training data, for example with `.astype(str)`, and fit again",
    "Intervals, periods, `Decimal`, dates, tuples as labels or categories.",
)
NUMBER_NOT_IN_JSON = Kind(
    NotConvertible,
    "{what} is {value}, which no request or answer can hold exactly",
    "make it a finite number below 2^53 in size or a string in the training data, and fit again",
    "NaN, infinity or very large integers as labels or categories.",
)
TEXT_NOT_SERVED = Kind(
    NotConvertible, "{what} ({value}) {problem}", OTHER_TEXT, "Very long or undecodable labels or categories."
)
CATEGORIES_OF_DURATIONS = Kind(
    NotConvertible,
    "The categories of column `{column}` are of the dtype `{dtype}`, which JSON cannot express",
    "make them numbers in the training data, for example with `.dt.total_seconds()`, and fit again",
    "Durations in an encoder.",
)
TIMESTAMPS_OUT_OF_REACH = Kind(
    NotConvertible,
    "The categories of column `{column}` are timestamps that no request can express, which holds microseconds of the"
    " years 1 to 9999 (single microseconds up to 2255)",
    "round them in the training data, for example with `.dt.floor('s')`, and fit again",
    "Nanoseconds in an encoder.",
)
UNCOUNTED_TIMESTAMPS = Kind(
    NotConvertible,
    "The sample has timestamps in column `{column}`, which numeric steps read as counts of a unit, and no value that"
    " they keep shows which unit",
    "make the column a number in the training data, for example with"
    " `(column - pandas.Timestamp('2024-01-01')).dt.total_seconds()`, and fit again",
    "Timestamps in a `PowerTransformer`, or in a `StandardScaler` fitted on NaT.",
)
REFUSES_PLAIN_ROWS = Kind(
    NotConvertible,
    "{estimator} refuses the rows of zeros, ones, halves and known categories that Serval tried{said}",
    SAMPLE + ", so that Serval knows what it takes",
    "A model that answers few rows, such as neighbours within a small radius.",
)
REFUSES_SAMPLE = Kind(
    NotConvertible,
    "{estimator} refuses the first row of the sample{said}",
    "send rows for which `model.predict(rows)` answers where the model was saved",
    "A sample that is not like the rows that the model was fitted on.",
)
REFUSES_ALL_ROWS = Kind(
    NotConvertible,
    "`{type}` refuses every row that Serval chose to verify the conversion",
    SAMPLE,
    "A model that answers few rows.",
)
UNUSABLE_OF_VERSION = Kind(
    NotConvertible,
    "The file was saved by scikit-learn {version}, and {estimator} cannot be used by {present}",
    "fit the model again with {present}, and save it",
    "Another version whose attributes have other names.",
)
ENGINE_REFUSES = Kind(
    NotConvertible,
    "The engine cannot run the converted model ({error})",
    "this is a fault in Serval, so report it with the file, or serve a model of other estimators",
    "A graph that ONNX Runtime or the data plane does not accept.",
)
ANSWERS_OTHERWISE = Kind(
    NotConvertible,
    "The converted `{type}` does not answer like the original: {reasons}",
    "scale the features before it (`StandardScaler`) if they are large numbers, since then rounding decides; if that"
    " does not help, this is a fault in Serval, so report it with the worst row",
    "Answers that rounding alone decides, or a fault in Serval.",
)
ROUNDED_NEIGHBOURS = Kind(
    NotConvertible,
    "The converted `{type}` does not answer like the original: {reasons}",
    "its neighbours are found by products of large numbers, whose rounding is larger than the distances, so scale the"
    " features before it (`StandardScaler`), and fit again",
    "Neighbours by brute force of many features with large offsets.",
)
ROUNDED_PROCESS = Kind(
    NotConvertible,
    "The converted `{type}` does not answer like the original: {reasons}",
    "its training rows are so near to each other that rounding decides, so raise `alpha`, to 0.1 for example, and fit"
    " again",
    "A Gaussian process whose table of covariances is nearly singular.",
)
TIED_IMPUTER = Kind(
    NotConvertible,
    "{estimator} chooses among equally distant rows in an order that differs between processors ({reasons})",
    "use `SimpleImputer` or `IterativeImputer` in its place, and fit again",
    "`KNNImputer` fitted on rows at equal distances, such as rounded numbers.",
)
TIED_COSINE = Kind(
    NotConvertible,
    "{estimator} chooses among equally distant rows in an order that differs between processors ({reasons})",
    "put `Normalizer()` before it and use metric='euclidean', which has the same order of distances, and fit again",
    "Neighbours by metric='cosine' of rows at equal angles, such as rounded numbers.",
)
TIED_SPARSE = Kind(
    NotConvertible,
    "{estimator} is fitted on a sparse table, and chooses among equally distant rows of it in an order that differs"
    " between processors ({reasons})",
    "give it a dense one (`OneHotEncoder(sparse_output=False)`, `ColumnTransformer(..., sparse_threshold=0)`), and fit"
    " again",
    "Neighbours by brute force of a sparse table with rows at equal distances, such as categories.",
)
OUT_OF_BOUNDS = Kind(
    NotConvertible,
    "The converted model's signature is out of bounds: {part}",
    "the code in the file wrote it, so save the fitted estimator alone",
    "A file that runs code of its own while it is converted.",
)
