"""Classification of texts, with a TextVectorization layer in the model."""

import keras
import keras_tuner as kt
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(2)
GOOD, BAD, ANY = ["great", "lovely", "superb"], ["awful", "poor", "dull"], ["a", "the", "film", "plot", "was", "it"]


def review(is_good):
    words = [*rng.choice(ANY, 6), *rng.choice(GOOD if is_good else BAD, 2)]
    rng.shuffle(words)
    return " ".join(words)


labels = rng.integers(0, 2, 240)
texts = tf.constant([review(label) for label in labels])

vectorize = keras.layers.TextVectorization(max_tokens=40, output_sequence_length=8)
vectorize.adapt(texts[:160])


def build_model(hp):
    inputs = keras.Input(shape=(), dtype="string")
    x = keras.layers.Embedding(41, hp.Int("dimension", 4, 16, step=4))(vectorize(inputs))
    x = keras.layers.GlobalAveragePooling1D()(x)
    if hp.Boolean("dropout"):
        x = keras.layers.Dropout(hp.Float("rate", 0.1, 0.5, step=0.1))(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(hp.Choice("optimizer", ["adam", "rmsprop"]), "binary_crossentropy", metrics=["accuracy"])
    return model


tuner = kt.RandomSearch(build_model, objective="val_loss", max_trials=3, seed=1, project_name="reviews")
tuner.search(texts[:160], labels[:160], validation_data=(texts[160:200], labels[160:200]), epochs=3, batch_size=16)
tuner.results_summary()
best = tuner.get_best_models()[0]
loss, accuracy = best.evaluate(texts[200:], labels[200:], verbose=0)
print(f"accuracy on the test texts: {accuracy:.2f}")
