"""Delivery: the activity that sends, from candidates to outcomes."""

from activities.delivery.outcomes import look_for
from activities.delivery.ports import DeliveryPorts, is_open
from activities.delivery.round import DeliveryActivities

__all__ = ["DeliveryActivities", "DeliveryPorts", "is_open", "look_for"]
