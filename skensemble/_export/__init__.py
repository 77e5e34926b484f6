"""An ensemble as a graph of ONNX: what other runtimes compute without Python.

The wing knows ONNX: nodes, types, opsets. It says in them what the encoder of a table, the built-in
network and the targets compute, and asks torch's exporter about modules of the user's. It
may import :mod:`skensemble.fitted` and what lies below that. It needs the package onnx, and so
nothing imports it before a user asks for a file.
"""
