"""Attribution methods by name: to add one, write its family's file, `as_used` above it, and enter it in `METHODS`.

Coming from Captum, which some of them call:

==========================================  =====================================================================
there                                       here
==========================================  =====================================================================
``target=y``, a tensor of classes           ``target="label_logit", labels=y``
a target must be given                      by default the class that the model predicts; see `attribute`
logits, or any output                       logits, (batch, classes): log-probabilities are taken by `target_values`
``n_steps``, ``baselines``                  ``steps``, ``baseline`` (``references`` for `expected_gradients`)
`NoiseTunnel`: ``nt_samples``, ``stdevs``   `smooth_grad`: ``samples``, ``noise``, by default a share of each row's
                                            range; ``relative=False`` for the unit of the inputs
``sliding_window_shapes``, ``strides``      ``window``, ``stride``; by default a seventh of the longest side, and
                                            half a window
``feature_mask``                            ``groups``, of the shape of one row; by default the patches of
                                            `feature_groups` for images, not pixels. A feature's score is shared
                                            by its elements, not repeated
``n_samples``                               ``samples``
``perturbations_per_eval``                  ``batch_size``, rows × copies in a forward pass
`LayerGradCam`: ``layer`` is a module       `grad_cam`: ``layer`` is a module or its name; the map is cut at zero
                                            (``relu=False`` keeps its sign) and resized bilinearly to the inputs
                                            (``resize=False`` keeps the layer's grid)
``return_convergence_delta``                `completeness_gap`
a tensor                                    an `Attribution`, the tensor being its ``scores``
==========================================  =====================================================================
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from torch import Tensor

from ..attribution import Attribution
from ..batch import Logits
from ..errors import MethodError, TargetError
from ..target import Target, checked_target, target_values
from .attention import attention_rollout, gradient_attention
from .cam import grad_cam, layer_activation
from .deep_lift import deep_lift
from .gradients import gradient_times_input, input_gradient
from .paths import completeness_gap, expected_gradients, integrated_gradients
from .perturbation import feature_ablation, occlusion
from .pinned import pin_target
from .presence import baseline_like, feature_groups
from .settings import check_settings, layer_name, settings_of
from .smoothing import smooth_grad
from .surrogates import kernel_shap, lime

__all__ = [
    "METHODS",
    "attention_rollout",
    "attribute",
    "baseline_like",
    "check_settings",
    "completeness_gap",
    "deep_lift",
    "expected_gradients",
    "feature_ablation",
    "feature_groups",
    "grad_cam",
    "gradient_attention",
    "gradient_times_input",
    "input_gradient",
    "integrated_gradients",
    "kernel_shap",
    "layer_activation",
    "layer_name",
    "lime",
    "method_named",
    "occlusion",
    "pin_target",
    "settings_of",
    "smooth_grad",
    "target_values",
]

METHODS: dict[str, Callable[..., Attribution]] = {
    "input_gradient": input_gradient,
    "gradient_times_input": gradient_times_input,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "expected_gradients": expected_gradients,
    "deep_lift": deep_lift,
    "occlusion": occlusion,
    "feature_ablation": feature_ablation,
    "lime": lime,
    "kernel_shap": kernel_shap,
    "attention_rollout": attention_rollout,
    "gradient_attention": gradient_attention,
    "grad_cam": grad_cam,
    "layer_activation": layer_activation,
}


def attribute(
    forward: Logits,
    inputs: Tensor,
    method: str = "input_gradient",
    *,
    target: Target | None = None,
    labels: Tensor | None = None,
    **settings: Any,
) -> Attribution:
    """Explain a batch by the method of that name.

    Every method is a function of the same first four arguments, with settings of its own. What each
    needs, and its cost in passes over a row (F: forward, B: backward to the inputs):

    ========================  =======================================================  ===================
    method                    needs                                                    cost by default
    ========================  =======================================================  ===================
    ``input_gradient``        a model that autograd can differentiate                  F + B
    ``gradient_times_input``  the same                                                 F + B
    ``smooth_grad``           the same                                                 50 (F + B)
    ``integrated_gradients``  the same, and a baseline (default 0)                     50 (F + B)
    ``expected_gradients``    the same, and ``references``, rows to compare with       100 (F + B)
    ``deep_lift``             a module of modules with a rule, each used once; a       4 F + 2 B
                              baseline (default 0); a logit as target
    ``occlusion``             any function; a filling (default 0)                      F for each window
    ``feature_ablation``      any function; a baseline (default 0)                     F for each feature
    ``lime``                  the same                                                 1000 F
    ``kernel_shap``           the same                                                 2048 F, or 2ⁿ for
                                                                                       n ≤ 11 features
    ``attention_rollout``     a transformer. Scores for tokens: ``token=0``, a [CLS],  F
                              or "mean" for a model that averages
    ``gradient_attention``    the same                                                 F + B
    ``grad_cam``              a ``layer`` with places, of a module or `Forward`        F + B from there
    ``layer_activation``      the same                                                 F
    ========================  =======================================================  ===================

    Every method asks the model as it is used, in evaluation mode, and leaves modes, buffers, gradients and
    hooks as found. Those that ask it about altered inputs pin the class predicted first (`pin_target`): one F
    more, unless the target names the class.

    Parameters
    ----------
    forward : Forward, module or function
        Model inputs to logits, shape (batch, classes). Some methods need a `Forward`.
    inputs : Tensor, shape (batch, *event), float
        Model inputs in the model's own unit.
    method : str
        A key of `METHODS`.
    target : str, int, callable or None
        What is explained; see `target_values`. None is the method's own default: the largest logit for
        ``deep_lift``, the transformers' methods and those that ask a layer, else the log-probability of
        the class predicted.
    labels : Tensor or None, shape (batch,), int64
        For targets that need them.
    **settings
        Of the method: see its own documentation.

    Returns
    -------
    Attribution
        With scores of the shape of `inputs`; of shape (batch, tokens) for the transformers' methods, and
        (batch, 1, height, width) for those that ask a layer.

    Raises
    ------
    MethodError
        If there is no method of that name, it has no such setting, or one that it needs is missing.
    KindError, ShapeError, SettingError, TargetError, LayerError, GraphError
        As the method says.

    Examples
    --------
    >>> import torch
    >>> attribute(lambda x: 3 * x, torch.zeros(1, 2), "input_gradient", target=0).scores
    tensor([[3., 0.]])
    """
    if target is None and labels is not None:
        raise TargetError(
            "`labels` are read by targets of the label only, and none was named; give target='label_log_probability', "
            "'label_logit' or 'cross_entropy', or leave the labels out."
        )
    asked = {} if target is None else {"target": checked_target(target)}
    function = method_named(method)
    check_settings(method, function, settings, forward)
    return function(forward, inputs, labels=labels, **asked, **settings)


def method_named(name: str) -> Callable[..., Attribution]:
    """Find the method of that name.

    Raises
    ------
    MethodError
        If there is none; offers the nearest.

    Examples
    --------
    >>> method_named("input_gradient") is input_gradient
    True
    """
    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        raise MethodError(f"No attribution method {name!r}{guess} There are: {', '.join(METHODS)}.")
    return METHODS[name]
