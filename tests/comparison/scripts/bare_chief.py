"""Bare Keras Tuner's oracle behind its own gRPC server. SIGUSR1 writes where its threads are to standard error.

bare_chief.py FOLDER random|grid
"""

import faulthandler
import signal
import sys
from pathlib import Path

import keras_tuner
from keras_tuner.src.distribute import oracle_chief

folder, algorithm = sys.argv[1:]
faulthandler.register(signal.SIGUSR1)
space = keras_tuner.HyperParameters()
if algorithm == "grid":
    space.Choice("units", [1, 2])
    oracle = keras_tuner.oracles.GridSearchOracle("val_accuracy", hyperparameters=space)
else:
    space.Int("units", 1, 10**6)
    oracle = keras_tuner.oracles.RandomSearchOracle("val_accuracy", max_trials=44, hyperparameters=space)
oracle.verbose = 0
oracle._set_project_dir(folder, "project")
if Path(oracle._get_oracle_fname()).exists():  # as a tuner does it
    oracle.reload()
oracle_chief.start_server(oracle)
