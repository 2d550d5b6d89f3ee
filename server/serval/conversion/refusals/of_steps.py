"""Refusals of one fitted estimator; `{estimator}` is its class and, inside a larger model, its place."""

from serval.conversion.refusals.kind import Kind
from serval.errors import NotConvertible

INSTEAD = "leave this step out, fit the others on columns to which it was applied already, and send those"
KERNELS = "use linear, poly, rbf, sigmoid, laplacian or cosine, and fit again"
METRICS = "use euclidean, manhattan, chebyshev, minkowski or cosine, and fit again"

NOT_AS_FITTED = Kind(
    NotConvertible,
    "{estimator} holds something that Serval does not know of its class",
    "if its attributes or parameters were changed after `fit`, fit it again and save what `fit` returns; if not, this"
    " is a fault in Serval, whose log has the cause",
    "An attribute or a parameter was removed or replaced by one of another type or shape, or Serval has a fault.",
)
NO_RULE = Kind(
    NotConvertible,
    "{estimator} has no {method} that Serval can write as ONNX",
    "use one of the estimators that `docs/formats.md` lists, and fit again",
    "An estimator without a conversion, or a subclass, which may compute anything.",
)
SPLITS_TEXT = Kind(
    NotConvertible,
    "{estimator} splits text into words, for which ONNX has no exact counterpart",
    "compute its columns before the pipeline, fit the rest on these, and send them",
    "`CountVectorizer`, `HashingVectorizer` or `TfidfVectorizer` in the model.",
)
TOO_DEEP = Kind(
    NotConvertible,
    "{estimator} lies {depth} estimators deep",
    "take it out of the estimators around it (`model.estimator`), and save it",
    "Estimators in estimators in estimators.",
)
STRING_COLUMN = Kind(
    NotConvertible,
    "{estimator} receives {column}",
    "encode it inside the pipeline (`OneHotEncoder`, `OrdinalEncoder`, `TargetEncoder`) and fit again",
    "Text reaches an estimator of numbers: an encoder was removed, or the sample holds text in a column of numbers.",
)
LEFT_OUT_COLUMN = Kind(
    NotConvertible,
    "{estimator} reads a column that the steps before it seem to leave out",
    "take the columns that no step needs out of the training data, and fit again",
    "A column transformer whose columns are not those that it was fitted with.",
)
STRICT_ENCODER = Kind(
    NotConvertible,
    "{estimator} refuses unknown values, and the steps before it compute those of its column {column}, so that no"
    " request could be told beforehand whether it will be answered",
    "call `set_params({argument})` on it, which needs no fitting, and save again",
    "`handle_unknown='error'` behind steps that change the values.",
)
TEXT_OF_NUMBERS = Kind(
    NotConvertible,
    "{estimator} knows strings in its column {column}, but is given numbers",
    "make the column text in the training data (`.astype(str)`), and fit again",
    "The steps before an encoder return numbers where it was fitted on text.",
)
TEXT_OF_TIMESTAMPS = Kind(
    NotConvertible,
    "{estimator} knows timestamps in its column {column}, but is given strings",
    "let it read the column as it was fitted on, without a step between that makes text of it, and fit again",
    "The steps before an encoder return text where it was fitted on timestamps.",
)
MIXED_CATEGORIES = Kind(
    NotConvertible,
    "{estimator} knows numbers and strings in its column {column}",
    "make the column all strings (`.astype(str)`), and fit again",
    "Categories of different types in one column.",
)
FUNCTION = Kind(
    NotConvertible,
    "{estimator} calls {what} `{function}`, which Serval cannot write as ONNX",
    INSTEAD,
    "A function of your own, or one of NumPy or SciPy without an exact counterpart.",
)
FUNCTION_OF_TEXT = Kind(
    NotConvertible,
    "{estimator} applies `{function}` to a string column",
    INSTEAD,
    "A function of numbers or of text in a `FunctionTransformer` that is given text.",
)
ARGUMENT = Kind(
    NotConvertible,
    "{estimator} calls `{function}` with {argument}",
    INSTEAD,
    "`kw_args` of a `FunctionTransformer` that have no exact counterpart.",
)
ROWS_TOGETHER = Kind(
    NotConvertible,
    "{estimator} calls `{function}` without `axis=1`, so that each answer would depend on the other rows",
    "give it `kw_args={{'axis': 1}}`, and fit again",
    "`softmax` or `log_softmax` over all values.",
)
RANDOM_ANSWERS = Kind(
    NotConvertible,
    "{estimator} with strategy={strategy} answers at random",
    "use strategy='prior', 'most_frequent' or 'constant', and fit again",
    "`DummyClassifier` with `stratified` or `uniform`.",
)
RANDOM_FILLS = Kind(
    NotConvertible,
    "{estimator} draws what it fills in at random (`sample_posterior=True`), so that no two answers agree",
    "call `set_params(sample_posterior=False)` on it, which needs no fitting, and save again",
    "`IterativeImputer` with `sample_posterior=True`.",
)
OWN_SVM_KERNEL = Kind(
    NotConvertible,
    "{estimator} has a kernel of its own",
    "use linear, poly, rbf or sigmoid, and fit again",
    "A support vector machine with a function or a computed table as kernel.",
)
OWN_KERNEL = Kind(
    NotConvertible,
    "{estimator} has a kernel of its own or with parameters",
    KERNELS,
    "`KernelRidge` or `Nystroem` with a function as kernel, or with `kernel_params`.",
)
KERNEL_NAME = Kind(
    NotConvertible, "{estimator} has the kernel {kernel}", KERNELS, "Another kernel of `sklearn.metrics.pairwise`."
)
PROCESS_KERNEL = Kind(
    NotConvertible,
    "{estimator} has the kernel {kernel}",
    "use sums, products and powers of RBF, Matern, RationalQuadratic, ExpSineSquared, DotProduct, ConstantKernel and"
    " WhiteKernel, and fit again",
    "A Gaussian process with `PairwiseKernel` or a kernel of your own.",
)
MATERN = Kind(
    NotConvertible,
    "{estimator} has a Matern kernel with nu={nu}",
    "use nu=0.5, 1.5, 2.5 or inf, and fit again",
    "Other values need a Bessel function, which ONNX lacks.",
)
SPLINE_ENDS = Kind(
    NotConvertible,
    "{estimator} with extrapolation={extrapolation} has no conversion",
    "use extrapolation='constant' or 'continue', and fit again",
    "`SplineTransformer` that continues in another way.",
)
SPLINE_OF_ONE_VALUE = Kind(
    NotConvertible,
    "{estimator} was fitted on a single value in its column {column}",
    "drop that column and fit again",
    "All knots of a spline coincide.",
)
IMPUTER_MARKER = Kind(
    NotConvertible,
    "{estimator} has another marker than NaN or weights by a function",
    "use `missing_values=numpy.nan`, and weights='uniform' or 'distance', and fit again",
    "`KNNImputer` with other parameters.",
)
IMPUTER_METRIC = Kind(
    NotConvertible,
    "{estimator} has a metric of its own",
    "use metric='nan_euclidean', and fit again",
    "`KNNImputer` with a function as metric.",
)
TEMPERATURE = Kind(
    NotConvertible,
    "{estimator} guesses from the rows whether scores are probabilities",
    "calibrate with method='sigmoid' or 'isotonic', and fit again",
    "Calibration by temperature of an estimator whose scores are no logits.",
)
OWN_METRIC = Kind(
    NotConvertible,
    "{estimator} has a metric of its own or with weights",
    METRICS,
    "Neighbours by a function or with `metric_params`.",
)
METRIC_NAME = Kind(NotConvertible, "{estimator} has the metric {metric}", METRICS, "Another metric of neighbours.")
OWN_WEIGHTS = Kind(
    NotConvertible,
    "{estimator} has weights that are a function",
    "use weights='uniform' or 'distance', and fit again",
    "Neighbours weighted by a function.",
)
OUTLIER_LABEL = Kind(
    NotConvertible,
    "{estimator} has an outlier_label that is no class",
    "give an outlier_label that is one of the classes, and fit again",
    "`RadiusNeighborsClassifier` that answers a label of its own for lonely rows.",
)
PROPAGATION_KERNEL = Kind(
    NotConvertible,
    "{estimator} has a kernel that is a function",
    "use kernel='rbf' or 'knn', and fit again",
    "Label propagation or spreading with a function.",
)
