"""Every write of recalls: started and retried by people, taken further by the dispatcher."""

from apps.fleet.recalls.services.advancing import advance_recall, advance_recalls
from apps.fleet.recalls.services.requests import retry_recall, start_recall

__all__ = ["advance_recall", "advance_recalls", "retry_recall", "start_recall"]
