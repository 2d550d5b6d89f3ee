"""Refusals by what a file did while it was converted, by its answers, and by its sample; and why a version is held."""

from serval.conversion.refusals.kind import Kind
from serval.errors import InvalidFeatures, NotVerified, SandboxViolation, Unprocessable

MODEL_ALONE = "loading a model needs nothing of the kind, so save the fitted estimator alone, without code of its own"

FORBIDDEN = Kind(
    SandboxViolation, "The file {what}", MODEL_ALONE, "Code in the file that a model does not need, or an attack."
)
FORBIDDEN_ACCESS = Kind(
    SandboxViolation,
    "The file tried to access what an upload may not access ({what})",
    MODEL_ALONE,
    "A path or a device that the code in the file opens.",
)
TOO_MUCH_MEMORY = Kind(
    SandboxViolation,
    "The file used more than {limit} of memory",
    "make the model smaller, or raise `SERVAL_CONVERT_MEMORY_BYTES` where the server is yours",
    "A model that is larger in memory than the server allows.",
)
TOO_SLOW = Kind(
    SandboxViolation,
    "The file {what}",
    "make the model smaller, or raise `SERVAL_CONVERT_CPU_SECONDS` and `SERVAL_CONVERT_WALL_SECONDS` where the server"
    " is yours",
    "A large model, or code that does not end.",
)
TOO_MUCH = Kind(
    SandboxViolation,
    "The file {what}",
    "make the model smaller, and save it without code that prints or starts threads",
    "A graph above the limit, or code of the file's own.",
)
ENDED = Kind(
    SandboxViolation,
    "The file {what}",
    "save the fitted estimator again; if it ends so again, an installed library fails on it, and the server's log has"
    " its last words",
    "A library that crashes on this model, or code that ends its process.",
)
FORGED = Kind(
    SandboxViolation,
    "The file {what}",
    "code in the file wrote that, so save the fitted estimator alone",
    "An attack: only code in the file can answer so.",
)
UNEXPECTED = Kind(
    Unprocessable,
    "Serval failed on this file while it was to {task} it",
    "save what `fit` returned once more and upload that; if it fails again, this is a fault in Serval, whose log has"
    " the cause",
    "A state of the file that nothing foresaw, or a fault in Serval.",
)
NOT_VERIFIED = Kind(
    NotVerified,
    "`{type}` was converted, but the graph does not answer like the original: {reason}. Nothing was made live",
    "scale the features before it (`StandardScaler`) if they are large numbers, since then rounding decides; if that"
    " does not help, this is a fault in Serval, so report it with the worst row, which the report shows",
    "The data plane computes otherwise than the converter expected.",
)
ONLY_REFUSALS = Kind(
    NotVerified,
    "`{type}` was converted, but the original refused every row on which the graph was to be verified",
    "send a `sample` of rows that it answers with the upload",
    "A model that answers few rows, of which none was tried.",
)
NOT_AS_EXPECTED = Kind(
    NotVerified,
    "{differing} of {rows} rows of the sample get another answer than the one expected, first {first}. Nothing was made"
    " live",
    "`prediction` and `probabilities` must be what this model answered where it was saved, unrounded, so leave them out"
    " if they are true values",
    "True values instead of answers, rounded answers, or another model's.",
)
SAMPLE_LACKS_COLUMN = Kind(
    InvalidFeatures,
    "Row {row} of the sample lacks the column `{column}`",
    "give each row every column of the model, null where a value is missing",
    "A column was dropped or renamed.",
)
SAMPLE_UNKNOWN_COLUMN = Kind(
    InvalidFeatures,
    "Row {row} of the sample has a column `{column}` that the model does not take",
    "leave it out, or name the model's columns with `columns`",
    "The target, an index, or another spelling.",
)
SAMPLE_WIDTH = Kind(
    InvalidFeatures,
    "Row {row} of the sample has {given} values, but the model takes {count} columns",
    "give one value for each column, in their order",
    "Rows of another table, or with the target.",
)
SAMPLE_VALUE = Kind(
    InvalidFeatures,
    "Row {row} of the sample, `{column}`: {problem}",
    "send values of the kind that the model was fitted on, null where one is missing",
    "Text in a column of numbers, or a number in a column of text.",
)
HELD_VERSION = Kind(
    None,
    "Saved with scikit-learn {version}, loaded with {present}: nothing shows that it still answers as before.{found}"
    " Ways out",
    "send rows with the answers that scikit-learn {version} gives (`serval model push` in the environment that saved it"
    " does), fit it again with {present}, or promote it yourself",
    "Another scikit-learn saved the file, and its estimators were not compared with that version.",
)
