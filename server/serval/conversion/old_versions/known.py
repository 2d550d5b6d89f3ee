"""Estimators whose older objects were held against the real older versions: 1.0.2, 1.1.3, and so on to 1.8.0."""

from __future__ import annotations

FIRST, LAST = (1, 0), (1, 8)
"""The versions compared. What older or newer ones saved is evaluated as it loads, and proves nothing."""
NAMES = (
    "ARDRegression AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor BayesianRidge BernoulliNB"
    " Binarizer CCA CalibratedClassifierCV CategoricalNB ClassifierChain ColumnTransformer ComplementNB"
    " DecisionTreeClassifier DecisionTreeRegressor DummyClassifier DummyRegressor ElasticNet ElasticNetCV"
    " ExtraTreeClassifier ExtraTreeRegressor ExtraTreesClassifier ExtraTreesRegressor FactorAnalysis FastICA"
    " FeatureUnion FixedThresholdClassifier FunctionTransformer GammaRegressor GaussianNB GaussianProcessClassifier"
    " GaussianRandomProjection GenericUnivariateSelect GradientBoostingClassifier GradientBoostingRegressor"
    " GridSearchCV HalvingGridSearchCV HistGradientBoostingClassifier HistGradientBoostingRegressor HuberRegressor"
    " IncrementalPCA IsotonicRegression IterativeImputer KBinsDiscretizer KMeans KernelRidge LabelBinarizer"
    " LabelEncoder LabelPropagation LabelSpreading Lars LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC"
    " LinearDiscriminantAnalysis LinearRegression LinearSVC LinearSVR LogisticRegression LogisticRegressionCV"
    " MLPClassifier MLPRegressor MaxAbsScaler MinMaxScaler MiniBatchKMeans MissingIndicator MultiOutputClassifier"
    " MultiOutputRegressor MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV MultinomialNB"
    " NearestCentroid NeighborhoodComponentsAnalysis Normalizer NuSVC NuSVR Nystroem OneHotEncoder"
    " OneVsOneClassifier OneVsRestClassifier OrdinalEncoder OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV"
    " OutputCodeClassifier PCA PLSCanonical PLSRegression PassiveAggressiveClassifier PassiveAggressiveRegressor"
    " Perceptron Pipeline PoissonRegressor PolynomialFeatures PowerTransformer QuadraticDiscriminantAnalysis"
    " QuantileRegressor QuantileTransformer RANSACRegressor RBFSampler RFE RFECV RadiusNeighborsClassifier"
    " RadiusNeighborsRegressor RandomForestClassifier"
    " RandomForestRegressor RegressorChain Ridge RidgeCV RidgeClassifier RidgeClassifierCV RobustScaler SGDClassifier"
    " SGDRegressor SVC SVR SelectFpr SelectFromModel SelectKBest SelectPercentile SelfTrainingClassifier"
    " SequentialFeatureSelector SimpleImputer SparseRandomProjection SplineTransformer StackingClassifier"
    " StackingRegressor StandardScaler TargetEncoder TheilSenRegressor TransformedTargetRegressor TruncatedSVD"
    " TunedThresholdClassifierCV TweedieRegressor VarianceThreshold VotingClassifier VotingRegressor _BinMapper"
    " _BinaryGaussianProcessClassifierLaplace _ConstantPredictor _SigmoidCalibration"
)
COMPARED = frozenset(NAMES.split())
"""Not among them, though they are served: `KNNImputer`, `KNeighborsClassifier` and `KNeighborsRegressor`, whose choice
among equally distant neighbours depends on the version of NumPy too, and `GaussianProcessRegressor`, whose answers
depend on rounding."""
