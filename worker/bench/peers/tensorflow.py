"""TensorFlow's training step, or its forward pass: prints images a second. `against.py` runs it.

Keras layers in one `tf.function`, channels last, LRN by TensorFlow's own operation.
"""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import sys

# This file has the name of the package that it runs.
sys.path.append(sys.path.pop(0))
import tensorflow as tf
from common import MODULES, options, report

layers = tf.keras.layers


def convolution(x, filters, kernel, stride=1):
    return layers.Conv2D(filters, kernel, stride, "same", activation="relu")(x)


def lrn(x):
    # Caffe divides alpha by the 5 channels of a window, TensorFlow does not.
    return layers.Lambda(lambda values: tf.nn.lrn(values, 2, 1.0, 1e-4 / 5, 0.75))(x)


def pool(x):
    return layers.MaxPool2D(3, 2, "same")(x)


def inception(x, filters):
    one, reduce3, three, reduce5, five, projection = filters
    return layers.Concatenate()([
        convolution(x, one, 1),
        convolution(convolution(x, reduce3, 1), three, 3),
        convolution(convolution(x, reduce5, 1), five, 5),
        convolution(layers.MaxPool2D(3, 1, "same")(x), projection, 1),
    ])


def head(x):
    x = layers.Flatten()(convolution(layers.AveragePooling2D(5, 3)(x), 128, 1))
    return layers.Dense(1000)(layers.Dropout(0.7)(layers.Dense(1024, activation="relu")(x)))


def network(batch, heads):
    images = layers.Input((224, 224, 3), batch_size=batch)
    x = lrn(pool(convolution(images, 64, 7, 2)))
    x = pool(lrn(convolution(convolution(x, 64, 1), 192, 3)))
    outputs = []
    for name, filters in MODULES.items():
        x = inception(x, filters)
        if name in ("4a", "4d"):
            outputs += [head(x)] if heads else []
        if name in ("3b", "4e"):
            x = pool(x)
    x = layers.Dropout(0.4)(layers.Flatten()(layers.AveragePooling2D(7, 1)(x)))
    return tf.keras.Model(images, [layers.Dense(1000)(x), *outputs])


def training(batch):
    net = network(batch, heads=True)
    images = tf.random.normal((batch, 224, 224, 3))
    labels = tf.random.uniform((batch,), 0, 1000, tf.int32)
    optimizer = tf.keras.optimizers.SGD(1e-4, momentum=0.9)
    optimizer.build(net.trainable_variables)

    def loss(logits):
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            main, first, second = net(images, training=True)
            total = loss(main) + 0.3 * (loss(first) + loss(second))
        gradients = tape.gradient(total, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables))
        return total

    return lambda: step().numpy()


def forward(batch):
    net = network(batch, heads=False)
    images = tf.random.normal((batch, 224, 224, 3))
    step = tf.function(lambda: net(images, training=False))
    return lambda: tf.nest.flatten(step())[0].numpy()


a = options()
tf.config.threading.set_intra_op_parallelism_threads(a.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
report(a, tf.__version__, (forward if a.forward_only else training)(a.batch))
