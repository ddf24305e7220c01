"""scikit-learn's conventions for an estimator, without importing scikit-learn.

`sklearn.base` brings SciPy's statistics along, half a second that an audit need not wait for. What scikit-learn asks
of an estimator is a handful of methods (developer's guide, "Rolling your own estimator"), so `Detector` has them from
here; `clone`, `cross_val_score` and pipelines work as with any other.
"""

import inspect
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """A classifier whose parameters are those of `__init__`, each kept as an attribute of the same name."""

    _estimator_type = "classifier"

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Every parameter by its name; `deep` changes nothing, since none is an estimator itself."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self: Self, **parameters: Any) -> Self:
        """Change parameters by name.

        Raises
        ------
        ValueError
            If there is no such parameter; scikit-learn expects this kind of error.
        """
        unknown = sorted(set(parameters) - set(self._parameter_names()))
        if unknown:
            raise ValueError(f"{type(self).__name__} has no parameter {', '.join(unknown)}.")
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = inspect.signature(type(self).__init__).parameters
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != usual[name].default)
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn 1.6 and newer asks an estimator about itself."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            transformer_tags=None,
            regressor_tags=None,
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` has run: attributes that end in an underscore are there."""
        return any(name.endswith("_") and not name.endswith("__") for name in vars(self))

    def check_is_fitted(self) -> None:
        """See that `fit` has run.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it has not.
        """
        if not self.__sklearn_is_fitted__():
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"This {type(self).__name__} was not fitted yet; call fit before anything else.")

    def score(self, signatures: Any, labels: ArrayLike) -> float:
        """The share of signatures called by their label, which `cross_val_score` averages."""
        return float((self.predict(signatures) == np.asarray(labels)).mean())

    def predict(self, signatures: Any) -> Any:
        """Labels (N,); the subclass says how."""
        raise NotImplementedError
