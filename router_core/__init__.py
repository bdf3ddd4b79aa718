"""The routing domain: pure values and functions that turn a request into a decision and learn from what became of it.

No event loop, no I/O, no clock, no randomness of its own, no globals.
"""

from router_core.decision import Decision
from router_core.deployment import Capability, Deployment, Provider, QualityPrior
from router_core.errors import ConfigError, NoCandidate, RequestError, RouterError, UnknownModel
from router_core.outcome import AttemptOutcome, Failure, FailureKind, Feedback, RequestOutcome, Reward, Usage
from router_core.policy import Policy, Weights
from router_core.price import Price
from router_core.record import recompute, to_record
from router_core.registry import Registry
from router_core.request import Hints, Mode, RoutingRequest, StreamRecovery
from router_core.reward import feedback_score, of_feedback
from router_core.router import decide
from router_core.snapshot import Snapshot, fold
from router_core.task import TaskProfile, TaskType

__all__ = [
    "AttemptOutcome",
    "Capability",
    "ConfigError",
    "Decision",
    "Deployment",
    "Failure",
    "FailureKind",
    "Feedback",
    "Hints",
    "Mode",
    "NoCandidate",
    "Policy",
    "Price",
    "Provider",
    "QualityPrior",
    "Registry",
    "RequestError",
    "RequestOutcome",
    "Reward",
    "RouterError",
    "RoutingRequest",
    "Snapshot",
    "StreamRecovery",
    "TaskProfile",
    "TaskType",
    "UnknownModel",
    "Usage",
    "Weights",
    "decide",
    "feedback_score",
    "fold",
    "of_feedback",
    "recompute",
    "to_record",
]
