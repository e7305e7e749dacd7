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


def certified_newton(
    features: FloatArray,
    target: npt.NDArray[np.int8],
    C: float,
    row_weight: FloatArray | None = None,
) -> tuple[FloatArray, float, float]:
    """Minimise C · Σ row_weight · log-loss + ½‖w‖² by damped Newton steps on centred features.

    Returns weights and intercept for raw features, and the objective. Asserts its own proof: the
    objective is 1-strongly convex in w, so half the squared gradient bounds its distance to the
    minimum; it has to be below 1e-10 of the objective.
    """
    mean = features.mean(axis=0)
    X = np.hstack([features - mean, np.ones((len(features), 1))])
    s = np.ones(len(X)) if row_weight is None else row_weight
    penalty = np.append(np.ones(features.shape[1]), 0.0)

    def objective(w: FloatArray) -> float:
        z = X @ w
        losses = np.logaddexp(0, np.where(target == 1, -z, z))
        return float(C * (s * losses).sum() + 0.5 * (penalty * w * w).sum())

    def derivatives(w: FloatArray) -> tuple[FloatArray, FloatArray]:
        p = 0.5 * (1 + np.tanh(X @ w / 2))  # the sigmoid, without overflow
        hessian = C * (X.T * (s * p * (1 - p))) @ X + np.diag(penalty)
        return C * X.T @ (s * (p - target)) + penalty * w, hessian

    w = np.zeros(X.shape[1])
    share = (s * target).sum() / s.sum()
    w[-1] = np.log(share / (1 - share))
    for _ in range(300):
        gradient, hessian = derivatives(w)
        if (gradient[:-1] ** 2).sum() / 2 < 1e-13 * objective(w):
            break
        step = np.linalg.solve(hessian, gradient)
        size, here = 1.0, objective(w)
        while objective(w - size * step) > here - 1e-4 * size * (gradient @ step) + 1e-14 * here:
            size /= 2
            if size < 1e-10:
                break
        w = w - size * step
    gradient, _ = derivatives(w)
    assert (gradient[:-1] ** 2).sum() / 2 < 1e-10 * objective(w), (
        "the oracle itself did not converge"
    )
    return w[:-1], float(w[-1] - w[:-1] @ mean), objective(w)


def objective_value(
    features: FloatArray,
    target: npt.NDArray[np.int8],
    C: float,
    weights: FloatArray,
    intercept: float,
    row_weight: FloatArray | None = None,
) -> float:
    """Return C · Σ row_weight · log-loss + ½‖w‖² at raw weights."""
    z = features @ weights + intercept
    losses = np.logaddexp(0, np.where(target == 1, -z, z))
    s = np.ones(len(z)) if row_weight is None else row_weight
    return float(C * (s * losses).sum() + 0.5 * weights @ weights)
