"""Refusals of files that hold no single fitted predictor of scikit-learn."""

from serval.conversion.refusals.kind import Kind
from serval.errors import NotAModel

SAVE = "save a fitted scikit-learn predictor with `joblib.dump(model, path)` or `pickle.dump` and upload that file"
SMALLER = (
    "save a smaller model, or raise `SERVAL_CONVERT_MEMORY_BYTES`, of which half is this limit, where the server is"
    " yours"
)

CUT_SHORT = Kind(
    NotAModel, "The file ends too early", "it was cut short on the way, so upload it again", "A copy that stopped."
)
DAMAGED_PICKLE = Kind(
    NotAModel,
    "The file begins like a pickle, but goes on like none",
    f"it is damaged or something else, so {SAVE}",
    "Changed bytes, or a file of another kind that begins alike.",
)
OLD_TREES = Kind(
    NotAModel,
    "The file was saved by {version}, whose trees scikit-learn {present} cannot read",
    "fit the model again with scikit-learn {present}, and save it",
    "The nodes of the trees have other fields.",
)
CANNOT_LOAD = Kind(
    NotAModel,
    "The file was saved by {version} and cannot be loaded with {present}: making {what} from it fails",
    f"fit the model again with scikit-learn {{present}}, and {SAVE}",
    "A class whose state the installed libraries do not understand.",
)
GONE_FROM_SKLEARN = Kind(
    NotAModel,
    "The file was saved by {version} and refers to `{name}`, which scikit-learn {present} does not have",
    "fit and save the model again with scikit-learn {present}",
    "A class or function that was removed or renamed, or came later.",
)
OTHER_LIBRARY = Kind(
    NotAModel,
    "The file holds a model of {library} (`{name}`)",
    "Serval serves the models of scikit-learn alone",
    "A model of another library; nothing converts it.",
)
OTHER_LIBRARY_FILE = Kind(
    NotAModel,
    "The file is {kind}",
    "Serval serves the models of scikit-learn alone",
    "A file format of another library.",
)
OTHER_FILE = Kind(NotAModel, "The file is {kind}", SAVE, "An image, a table, a script, an archive; or it is empty.")
OWN_SCORER = Kind(
    NotAModel,
    "The file refers to `{name}`{place}, which is defined in {module}, and a pickle holds no code",
    "a score is not needed to predict, so save the model that the search found"
    " (`joblib.dump(search.best_estimator_, path)`)",
    "A search with a scorer of your own.",
)
OWN_CODE = Kind(
    NotAModel,
    "The file refers to `{name}`{place}, which is defined in {module}, and a pickle holds no code",
    "replace it by scikit-learn's own transformers and NumPy functions (`FunctionTransformer(numpy.log1p)`), fit and"
    " save again",
    "A class or function of a script, a notebook or a package that Serval does not have.",
)
UNTRUSTED_TYPES = Kind(
    NotAModel,
    "The file needs types that Serval does not load: {names}",
    "replace them by scikit-learn's own transformers and NumPy functions, fit and save again",
    "A skops file that names other classes or functions than those of the numeric libraries.",
)
TRAILING_BYTES = Kind(
    NotAModel,
    "After the first object, a `{first}`, the file goes on with {count} bytes that are no pickle",
    "it was written over another file, or damaged, so save the model again, in a new file",
    "A shorter pickle was written over the start of a longer file.",
)
TOO_MANY_OBJECTS = Kind(
    NotAModel,
    "The file holds more than {limit} objects, one after the other",
    SAVE,
    "A log of pickles, or `pickle.dump` in a loop.",
)
UNKNOWN_COMPRESSION = Kind(
    NotAModel,
    "The file is compressed with {name}, which Serval does not read",
    "save it with `joblib.dump(model, path, compress=3)`",
    "lz4 or zstd.",
)
DAMAGED_COMPRESSION = Kind(
    NotAModel,
    "The file begins as {name}, but is damaged or cut short",
    "upload it again",
    "A copy that stopped or was changed.",
)
UNPACKS_TO_TOO_MUCH = Kind(
    NotAModel,
    "The file unpacks to more than {limit} MiB, which is more than Serval may hold",
    SMALLER,
    "A compressed file or an archive that is much larger unpacked.",
)
A_CLASS = Kind(
    NotAModel,
    "The file holds the class `{name}`, not a fitted object",
    "save what `{name}(...).fit(X, y)` returns",
    "The class was saved, not a model.",
)
NO_MODEL = Kind(NotAModel, "The file holds a `{type}`, not a model", SAVE, "A table, an array, a number, a text.")
NO_MODEL_AMONG = Kind(
    NotAModel, "The file holds {content}, and no model among them", SAVE, "Only data or transformers were saved."
)
MODEL_AND_MORE = Kind(
    NotAModel,
    "The file holds {content}",
    "save `{path}` alone ({lines}){left_out}",
    "A model beside data that it does not need, or beside a transformer that it has already.",
)
MODEL_AND_STEPS = Kind(
    NotAModel,
    "The file holds {content}: `{path}` alone would be served without {beside}",
    "join them, which fits nothing again: {lines}{left_out}",
    "A model beside the scaler, encoder or labels that it was fitted with.",
)
NOTHING_TO_JOIN = Kind(
    NotAModel,
    "The file holds {content}, so there is nothing to join",
    "upload it without `--join`",
    "`serval check --join` of a file with one object, or without a model.",
)
JOIN_WITH_ITS_VERSION = Kind(
    NotAModel,
    "The file was saved with scikit-learn {version}, and would be written by {present}",
    "join its parts with {version}, by the lines that `serval check` shows without `--join`",
    "`serval check --join` of a file of another version.",
)
SEVERAL_MODELS = Kind(
    NotAModel,
    "The file holds {content}: {count} models",
    'save each in a file of its own (`joblib.dump({path}, "model.joblib")`)',
    "Several predictors in one file.",
)
SEVERAL_LABEL_ENCODERS = Kind(
    NotAModel,
    "The file holds {content}: several encoders of labels",
    "save the model with the one that encodes what it answers",
    "Several `LabelEncoder` and their like.",
)
STEP_TWICE = Kind(
    NotAModel,
    "The file holds {content}: `{path}` has a `{type}` of its own, which is not `{beside}`",
    "save `make_pipeline({beside}, {path})` if your code calls both, and `{path}` alone if not",
    "A transformer beside a pipeline with one of the same kind.",
)
MANY_TRANSFORMERS = Kind(
    NotAModel,
    "The file holds {content}: {count} transformers",
    "put them into a pipeline where they were fitted",
    "More transformers than can be tried in every order.",
)
FEATURE_OR_TARGET = Kind(
    NotAModel,
    "The file holds {content}: `{beside}` takes one column, as the model does, and may be of the features"
    " (`make_pipeline({beside}, {path})`) or of the target (`TransformedTargetRegressor`)",
    "join them where they were fitted",
    "A scaler of one column beside a regressor of one column.",
)
UNKNOWN_ORDER = Kind(
    NotAModel,
    "The file holds {content}: the file does not show in which order its transformers come ({takes})",
    "join them in the order in which your code calls them, such as `make_pipeline({chain})`",
    "Transformers that fit before and after each other.",
)
SIDE_BY_SIDE = Kind(
    NotAModel,
    "The file holds {content}: the transformers stand side by side ({takes})",
    "put them into a ColumnTransformer in the order of your code, with the columns of each:"
    " `side = ColumnTransformer([{pieces}]).fit(X)`, which fits nothing again, for `FrozenEstimator` keeps what was"
    " fitted, and save `make_pipeline(side, {path})`",
    "Transformers of some columns each.",
)
NO_CHAIN = Kind(
    NotAModel,
    "The file holds {content}: the transformers do not fit before the model one after the other ({takes})",
    "build the pipeline where the model was fitted, with a ColumnTransformer for steps that see some of the columns",
    "Their numbers of columns do not meet.",
)
LABELS_APART = Kind(
    NotAModel,
    "The file holds {content}: `{type}` cannot be given the labels of `{beside}`",
    "save `{path}` without it, and translate its answers where you use them{shown}",
    "A label encoder beside a model whose answers are not simply its classes.",
)
