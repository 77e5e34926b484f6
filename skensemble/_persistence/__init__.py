"""Files that hold a fitted estimator as data: no pickle, and nothing is run to read one.

The wing knows how a file is laid out, how values, arrays and the package's own objects stand in it,
which names of foreign code a file may ask for, and what must be checked before anything is built.
It knows of no estimator's class: whoever loads hands those in. The wing may import what lies below
:mod:`skensemble.fitting`: fitted ensembles, parameters, training, data and networks.
"""
