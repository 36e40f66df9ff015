"""Talking to Triton: what it says of itself, and images in, logits out, over each of its transports."""

from client.connection.connection import Answer, Connection, Prepared
from client.connection.control import Control
from client.connection.endpoint import Endpoint, Tls, Transport
from client.connection.model import Model

__all__ = ["Answer", "Connection", "Control", "Endpoint", "Model", "Prepared", "Tls", "Transport"]
