"""Logistic regression by damped Newton steps on the raw features: slow, exact, independent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def newton_logistic(
    features: FloatArray, target: npt.NDArray[np.int8], C: float
) -> tuple[FloatArray, float]:
    """Minimise C · Σ log-loss + ½‖w‖² with a free intercept, until the step is rounding."""
    X = np.hstack([features, np.ones((len(features), 1))])
    penalty = np.append(np.ones(features.shape[1]), 0.0)
    w = np.zeros(X.shape[1])
    for _ in range(200):
        p = 1 / (1 + np.exp(-X @ w))
        gradient = C * X.T @ (p - target) + penalty * w
        hessian = C * (X.T * (p * (1 - p))) @ X + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (
            _objective(X, target, C, w - size * step, penalty)
            > _objective(X, target, C, w, penalty) + 1e-12
            and size > 1e-6
        ):
            size /= 2
        w = w - size * step
        if np.abs(step).max() < 1e-13:
            break
    return w[:-1], float(w[-1])


def _objective(
    X: FloatArray, target: npt.NDArray[np.int8], C: float, w: FloatArray, penalty: FloatArray
) -> float:
    z = X @ w
    losses = np.logaddexp(0, np.where(target == 1, -z, z))
    return float(C * losses.sum() + 0.5 * (penalty * w * w).sum())


def softmax_gradient(
    features: FloatArray,
    classes: npt.NDArray[np.intp],
    C: float,
    weights: FloatArray,
    intercept: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the gradient of C · Σ cross-entropy + ½‖W‖², all K rows penalised, at (W, b)."""
    z = features @ weights.T + intercept
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(p)), classes] -= 1
    return C * p.T @ features + weights, C * p.sum(axis=0)
