"""ResourceQuotas: what objects cost, which quotas that concerns, and whether it fits. Pure."""

from apilayer.api.quota.amounts import Amounts, amounts
from apilayer.api.quota.check import QuotaError, charged, concerns, cost_of
from apilayer.api.quota.evaluators import Evaluator, evaluator_of
from apilayer.api.quota.recount import observed, recounted

__all__ = [
    "Amounts",
    "Evaluator",
    "QuotaError",
    "amounts",
    "charged",
    "concerns",
    "cost_of",
    "evaluator_of",
    "observed",
    "recounted",
]
